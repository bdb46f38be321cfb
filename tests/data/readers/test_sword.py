"""Modules of the SWORD Project, compressed here by hand."""

import struct
import zlib
from pathlib import Path

import pytest

from asnn_goose.data.document import DataError
from asnn_goose.data.readers.sword import osis_paragraphs, read_sword

LONG = "The heavens declare the glory, and so it goes on for quite a while. " * 4


def write(folder: Path, name: str, *blocks: str) -> None:
    index, content = b"", b""
    for block in blocks:
        packed = zlib.compress(block.encode())
        index += struct.pack("<III", len(content), len(packed), len(block.encode()))
        content += packed
    (folder / f"{name}zs").write_bytes(index)
    (folder / f"{name}zz").write_bytes(content)


def test_chapters_are_documents_in_blocks_of_books_or_chapters(tmp_path: Path) -> None:
    book = (
        '<div osisID="Gen" type="book"/> <title>Genesis</title>'
        f'<chapter n="1" osisID="Gen.1" sID="Gen.1"/> <div type="x-p"/>One {LONG}'
        f'<chapter eID="Gen.1"/><chapter n="2" osisID="Gen.2" sID="Gen.2"/>Two {LONG}'
    )
    write(tmp_path, "ot.b", book)
    write(tmp_path, "nt.b", f'<chapter n="1" osisID="Matt.1"/>Three {LONG}', "")
    found = list(read_sword(tmp_path))
    assert [d.group for d in found] == ["Matt.1", "Gen.1", "Gen.2"]
    assert [d.text.split()[0] for d in found] == ["Three", "One", "Two"]


def test_what_precedes_the_first_chapter_is_the_books(tmp_path: Path) -> None:
    write(tmp_path, "ot.c", f'<div osisID="Ps" type="book"/><div type="x-p"/>Preface. {LONG}')
    [found] = read_sword(tmp_path)
    assert found.group == "Ps"


def test_markup_goes_and_lines_of_poetry_stay() -> None:
    markup = (
        '<title type="x-s">TITLE</title><w lemma="strong:H1">In</w> <w>the</w> <hi>beginning</hi> ,'
        '<note placement="foot">a footnote</note> &amp; so on.<div eID="gen1" type="x-p"/>'
        '<lg><l level="1">The heavens declare</l> <l level="2">the glory</l></lg>'
        "<table><row><cell>verses</cell></row></table> end"
    )
    assert list(osis_paragraphs(markup)) == [
        "In the beginning, & so on.",
        "The heavens declare\nthe glory",
        "end",
    ]


def test_damaged_blocks_are_named(tmp_path: Path) -> None:
    write(tmp_path, "ot.b", LONG)
    content = (tmp_path / "ot.bzz").read_bytes()
    (tmp_path / "ot.bzz").write_bytes(content[:-9])
    with pytest.raises(DataError, match=r"ot\.bzs: block at 0 is damaged"):
        list(read_sword(tmp_path))
    (tmp_path / "ot.bzz").write_bytes(content)
    index = bytearray((tmp_path / "ot.bzs").read_bytes())
    index[8] ^= 1
    (tmp_path / "ot.bzs").write_bytes(index)
    with pytest.raises(DataError, match=r"block at 0 has \d+ bytes, not \d+"):
        list(read_sword(tmp_path))
