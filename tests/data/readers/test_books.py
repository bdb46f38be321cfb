"""Books in plain text, and tales in tables."""

from pathlib import Path

import pytest

from asnn_goose.data.document import DataError
from asnn_goose.data.readers.books import (
    read_book,
    read_gutenberg,
    read_speeches,
    read_tales,
    unwrapped,
)

LINE = "A line of prose that is wrapped where the page ends,\n"
TEXT = LINE * 6


def test_prose_is_unwrapped_and_verse_is_not() -> None:
    assert unwrapped("It is a truth universally acknowledged, that a\n _single_ man in") == [
        "It is a truth universally acknowledged, that a single man in"
    ]
    verse = "ROMEO.\n  But soft, what light\nthrough yonder window breaks?"
    assert unwrapped(verse) == ["ROMEO.\nBut soft, what light\nthrough yonder window breaks?"]
    assert unwrapped("one\n \n\ntwo") == ["one", "two"]


def test_chapters_are_documents(tmp_path: Path) -> None:
    file = tmp_path / "book.txt"
    file.write_text(f"Preface\n\n{TEXT}\nCHAPTER 1. Loomings.\n\n{TEXT}\nII. The End\n\n{TEXT}")
    found = list(read_book(file))
    assert [d.text.split("\n\n")[0] for d in found] == [
        "Preface",
        "CHAPTER 1. Loomings.",
        "II. The End",
    ]
    assert len({d.group for d in found}) == 3
    assert "\n" not in found[0].text.split("\n\n")[1]


def test_ranges_of_lines_are_read_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "book.txt"
    file.write_text(f"licence\n{TEXT}licence\n{TEXT.upper()}words words\n")
    first, second = read_book(file, lines=((2, 7), (9, 14)))
    assert first.text == " ".join(TEXT.split())
    assert second.text == " ".join(TEXT.upper().split())
    assert first.group != second.group


def test_gutenberg_licences_are_left_out(tmp_path: Path) -> None:
    ends = {
        "old": ("*END*THE SMALL PRINT! FOR PUBLIC DOMAIN*END*", "End of Project Gutenberg's x"),
        "new": ("*** START OF THE EBOOK X ***", "*** END OF THE EBOOK X ***"),
    }
    for name, (start, end) in ends.items():
        (tmp_path / f"{name}_gut.txt").write_text(f"licence\n{start}\n{TEXT}\n{end}\nlicence")
    found = list(read_gutenberg(tmp_path, pattern="*_gut.txt"))
    assert [d.text for d in found] == [" ".join(TEXT.split())] * 2


def test_tales_are_rows_of_a_table(tmp_path: Path) -> None:
    heads = "Topic\tTitle\tContent\nstring\tstring\tstring\n\t\tinclude=True\n"
    content = f"Once upon a time. {'It was so. ' * 20} And then."
    (tmp_path / "a.tab").write_text(f"{heads}\nx\tHans\t{content}\ny\tShort\tno\n")
    [tale] = read_tales(tmp_path, patterns=("*.tab",))
    assert (tale.id, tale.group) == ("Hans", "Hans")
    assert tale.text.split("\n\n") == [
        "Hans",
        f"Once upon a time. {'It was so. ' * 20}".strip(),
        "And then.",
    ]


def test_speeches_of_one_year_share_a_group(tmp_path: Path) -> None:
    for name in ("1945-Truman-1", "1945-Truman-2", "1946-Truman-1"):
        (tmp_path / f"{name}.txt").write_text(f"{name} says: café\n", "utf-8")
    found = list(read_speeches(tmp_path))
    assert [(d.id, d.group) for d in found] == [
        ("1945-Truman-1", "1945"),
        ("1945-Truman-2", "1945"),
        ("1946-Truman-1", "1946"),
    ]
    assert found[0].text == "1945-Truman-1 says: café"


def test_empty_package_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no \*\.txt in"):
        list(read_speeches(tmp_path))
