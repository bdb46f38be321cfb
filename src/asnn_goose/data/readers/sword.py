"""Bible texts and commentaries of the SWORD Project: compressed blocks of OSIS markup."""

from __future__ import annotations

import html
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from asnn_goose.data.document import DataError, Document
from asnn_goose.data.readers.files import bytes_of, files_of
from asnn_goose.data.readers.prose import document

_BLOCK = struct.Struct("<III")
_CHAPTER = re.compile(r'<chapter [^>]*osisID="([^"]+)"[^>]*>')
_LEFT_OUT = re.compile(r"<(note|table|title type=\"x-importer\")\b.*?</(?:note|table|title)>", re.S)
_PARAGRAPH = re.compile(
    r"<div [^>]*type=\"(?:x-p|paragraph|introduction)\"[^>]*>|</?(?:lg|p|title)\b[^>]*>"
)
_LINE = re.compile(r"<(?:l|lb)\b[^>]*>")
_TAG = re.compile(r"<[^>]*>")


def read_sword(folder: Path) -> Iterator[Document]:
    """One document per chapter of a module, whichever blocks it is compressed in.

    Groups are chapters of the Bible, named as OSIS does: a chapter and what several commentaries
    say about it share a split.
    """
    for index in files_of(folder, "*.?zs"):
        for block in _blocks(index):
            yield from _chapters(block)


def _blocks(index: Path) -> Iterator[str]:
    """Texts of the blocks: the index holds (offset, size, unpacked size) of each."""
    stored = bytes_of(index.with_suffix(f"{index.suffix[:-1]}z"))
    for offset, size, unpacked in _BLOCK.iter_unpack(bytes_of(index)):
        try:
            text = zlib.decompress(stored[offset : offset + size])
        except zlib.error as error:
            raise DataError(f"{index}: block at {offset} is damaged: {error}") from error
        # A cut block may still decompress; the index says how long it was.
        if len(text) != unpacked:
            raise DataError(f"{index}: block at {offset} has {len(text)} bytes, not {unpacked}")
        yield text.decode("utf-8", "replace")


def _chapters(block: str) -> Iterator[Document]:
    pieces = _CHAPTER.split(block)
    for name, markup in zip(["", *pieces[1::2]], pieces[::2], strict=True):
        title = re.search(r'osisID="([^".]+)"', pieces[0])
        place = name or (title[1] if title else "preface")
        yield from document(place, place, osis_paragraphs(markup))


def osis_paragraphs(markup: str) -> Iterator[str]:
    """Paragraphs of OSIS markup; lines of poetry stay lines."""
    for part in _PARAGRAPH.split(_LEFT_OUT.sub(" ", markup)):
        lines = (_TAG.sub("", line) for line in _LINE.split(part))
        text = "\n".join(filter(None, (" ".join(html.unescape(line).split()) for line in lines)))
        if re.search(r"[a-z]{2}", text):
            yield re.sub(r" +([,.;:!?\u2019\u201d])", r"\1", text)
