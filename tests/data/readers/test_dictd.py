"""Dictionaries of dictd, written here by hand: an index beside a gzipped text."""

import gzip
from pathlib import Path

import pytest

from asnn_goose.data.document import DataError
from asnn_goose.data.readers.dictd import (
    BUNDLE_CHARACTERS,
    entries,
    read_foldoc,
    read_gcide,
    read_jargon,
)

DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
LONG = "This sentence only makes the entry long enough to be kept as a document. " * 3


def number(value: int) -> str:
    digits = DIGITS[value % 64]
    return digits if value < 64 else number(value // 64) + digits


def write(folder: Path, articles: dict[str, str], *, charset: str = "utf-8") -> Path:
    """Write a dictionary; words parted by | share one article, and the index is sorted."""
    content, lines = b"", []
    for words, article in articles.items():
        packed = article.encode(charset)
        span = f"{number(len(content))}\t{number(len(packed))}"
        lines += [f"{word}\t{span}" for word in words.split("|")]
        content += packed
    (folder / "words.dict.dz").write_bytes(gzip.compress(content))
    (folder / "words.index").write_text("\n".join(sorted(lines, reverse=True)), "utf-8")
    return folder / "words.dict.dz"


def test_entries_come_in_the_order_of_the_text_once_each(tmp_path: Path) -> None:
    articles = {"00-database-info": "about", "b|second b": "bee" * 50, "a": "é", "c": "sea"}
    found = list(entries(write(tmp_path, articles)))
    assert [text for _, text in found] == ["bee" * 50, "é", "sea"]
    assert [headword for headword, _ in found][1:] == ["a", "c"]
    assert found[0][0] in {"b", "second b"}


def test_places_are_bytes_whatever_the_charset(tmp_path: Path) -> None:
    file = write(tmp_path, {"a": "caf\u00e9 one", "b": "two"}, charset="latin-1")
    assert [text for _, text in entries(file)] == ["caf\ufffd one", "two"]


def test_index_beyond_the_text_is_named(tmp_path: Path) -> None:
    file = write(tmp_path, {"a": "text"})
    file.with_name("words.index").write_text("a\tA\tZZ")
    with pytest.raises(DataError, match=r"words\.index: 'a' lies beyond the end"):
        list(entries(file))


def test_foldoc_loses_marks_dates_links_and_what_the_jargon_file_has(tmp_path: Path) -> None:
    article = (
        "Babbage\n\n   <language> The structured {assembly\n   language} for the {General"
        f"}} 4xxx.\n   {LONG}\n\n   {{Home (http://x.org/)}}.\n\n   (1997-02-02)\n\n"
    )
    taken = f"hack\n\n   A word. {LONG}\n\n   [{{Jargon File}}]\n"
    [found] = read_foldoc(write(tmp_path, {"Babbage": article, "hack": taken}))
    assert (found.id, found.group) == ("Babbage", "babbage")
    assert found.text == (
        f"Babbage\n\nThe structured assembly language for the General 4xxx. {LONG}".strip()
    )


def test_jargon_keeps_the_prose_of_an_entry(tmp_path: Path) -> None:
    article = f"drone\n n.\n\n    Ignorant sales personnel, see {{suit}}.\n    {LONG}\n"
    [found] = read_jargon(write(tmp_path, {"drone": article}))
    assert found.text == f"drone\n\nIgnorant sales personnel, see suit. {LONG}".strip()


def test_gcide_bundles_words_of_one_beginning(tmp_path: Path) -> None:
    articles = {
        "Across": 'Across \\A*cross"\\ (#), prep. [Pref. a- + cross: cf. F. [x] y.]\n'
        f"   From side to side. {LONG}\n   [1913 Webster]\n",
        "Acrobat": f'Acrobat \\Ac"ro*bat\\, n.\n   One who dances. {LONG}\n   [1913 Webster]\n',
        "Bee": f"Bee \\Bee\\, n.\n   An insect. {LONG}\n",
    }
    across, bee = read_gcide(write(tmp_path, articles))
    assert (across.group, bee.group) == ("acr", "bee")
    assert "Across, prep. From side to side." in across.text
    assert "One who dances." in across.text
    assert not set("[]\\{}") & set(across.text)
    assert "Webster" not in across.text


def test_gcide_bundles_end(tmp_path: Path) -> None:
    text = "word, n. " + LONG * (BUNDLE_CHARACTERS // len(LONG) + 1)
    found = list(read_gcide(write(tmp_path, {f"acro{n}": text + str(n) for n in range(3)})))
    assert [d.group for d in found] == ["acr"] * 3
    assert len({d.id for d in found}) == 3
