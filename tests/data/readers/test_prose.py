"""What every reader does to a text."""

import pytest

from asnn_goose.data.document import Document
from asnn_goose.data.readers.prose import (
    LEAST_CHARACTERS,
    PART_CHARACTERS,
    document,
    is_prose,
    paragraphs,
    parted,
    unrepeated,
)

SENTENCE = "It was the best of times, it was the worst of times, as somebody said."


def test_wrapped_lines_are_joined_and_blank_lines_part() -> None:
    assert paragraphs("one\n  two \n\n \n\tthree\n \nfour") == ["one two", "three", "four"]
    assert paragraphs(" \n\n ") == []


@pytest.mark.parametrize(
    "paragraph",
    [
        "See also the index.",
        "12 345 67.8 9% 10 11 12 13 14 15 16 17 figures",
        "int main(void) { return x->y[0] == 0x1f ? a : b; } /* code */",
        "ALL OF THIS IS A HEADING IN CAPITALS THAT SHOUTS AT US",
        "name_of_a other_name_1 third_name_2 __init__ a_b c_d e_f g_h",
    ],
)
def test_what_is_no_running_text(paragraph: str) -> None:
    assert not is_prose(paragraph)


@pytest.mark.parametrize(
    "paragraph",
    [
        SENTENCE,
        "The function open() returns a file object (see section 3.2) or raises OSError.",
        "\u201cIn 1815\u201d, he said, \u201cwe had no idea of what would come; nobody had.\u201d",
    ],
)
def test_what_is_running_text(paragraph: str) -> None:
    assert is_prose(paragraph)


def test_words_may_be_fewer_where_a_reader_says_so() -> None:
    assert is_prose("Choose the menu and click.", words=5)
    assert not is_prose("Choose the menu and click.", words=6)


def test_short_documents_are_none() -> None:
    assert list(document("a", "g", ["short"])) == []
    [found] = document("a", "g", ["x" * LEAST_CHARACTERS, "", "y"])
    assert found == Document(id="a", group="g", text="x" * LEAST_CHARACTERS + "\n\ny")


def test_longer_paragraphs_come_once() -> None:
    long, other = f"{SENTENCE} " * 4, f"{SENTENCE[::-1]} " * 4
    texts = [f"Title\n\n{long}\n\n{long}\n\nEnd", f"Title\n\n{long}\n\n{other}", long]
    read = [Document(id=str(n), group="g", text=text) for n, text in enumerate(texts)]
    found = list(unrepeated(read))
    assert [(d.id, d.text) for d in found] == [
        ("0", f"Title\n\n{long}\n\nEnd"),
        ("1", f"Title\n\n{other}"),
    ]


def test_long_documents_are_cut_between_paragraphs() -> None:
    rows = [f"Paragraph {n} of a long page. " * 20 for n in range(120)]
    [short, long] = [
        Document(id="short", group="g", text=rows[0]),
        Document(id="long", group="g", text="\n\n".join(rows)),
    ]
    found = list(parted([short, long]))
    assert found[0] == short
    assert "\n\n".join(part.text for part in found[1:]) == long.text
    assert len(found) == 1 + -(-len(long.text) // PART_CHARACTERS)
    assert max(len(part.text) for part in found) < 1.1 * PART_CHARACTERS
    assert {part.group for part in found} == {"g"}
    assert len({part.id for part in found}) == len(found)


def test_pieces_can_be_groups() -> None:
    whole = Document(id="a", group="g", text="\n\n".join(["x" * 90] * 10))
    found = list(parted([whole], characters=200, groups=True))
    assert len(found) == 5
    assert [part.group for part in found] == [part.id for part in found]
    assert len({part.group for part in found}) == 5
