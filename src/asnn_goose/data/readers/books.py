"""Books and speeches in plain text: hard-wrapped prose and verse, cut into chapters."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from io import StringIO
from itertools import pairwise
from pathlib import Path

from asnn_goose.data.document import Document
from asnn_goose.data.readers.files import files_of, text_of
from asnn_goose.data.readers.prose import document

WRAPPED_CHARACTERS = 45
"""Lines of prose are wrapped beyond this length; verse and drama end their lines earlier."""

_CHAPTER = re.compile(
    r"^(?:(?:CHAPTER|Chapter|BOOK|ADVENTURE|ACT|Act|SCENE|SCENA|Scaena|Scena|Scene"
    r"|FIRST EPILOGUE|SECOND EPILOGUE|ETYMOLOGY|EXTRACTS|Epilogue)\b.{0,80}"
    r"|[IVXLC]+\.(?: [A-Z][\w ,'-]*)?)$",
    re.MULTILINE,
)
_GUTENBERG_START = re.compile(
    r"\*\*\* ?START OF.*?\*\*\*|\*END\*?.{0,20}THE SMALL PRINT.*?\*END\*", re.DOTALL
)
_GUTENBERG_END = re.compile(r"\*{0,3} ?(?:END OF TH|End of (?:The |the |this )?Project Gutenberg)")
_PARAGRAPH_BREAK = re.compile(r"\n[^\S\n]*\n\s*")
_EMPHASIS = re.compile(r"_([^_\n]{1,200})_")


def read_book(file: Path, *, lines: Sequence[tuple[int, int]] = ()) -> Iterator[Document]:
    """One document per chapter of a file, or of the ranges of its lines (from 1, inclusive)."""
    text = text_of(file)
    rows = text.splitlines()
    pieces = ["\n".join(rows[first - 1 : last]) for first, last in lines] or [text]
    for number, piece in enumerate(pieces):
        yield from _chapters(f"{file.parent.name}/{file.stem}/{number}", piece)


def read_gutenberg(folder: Path, *, pattern: str) -> Iterator[Document]:
    """Chapters, or scenes, of every Project Gutenberg file, without its licence."""
    for file in files_of(folder, pattern):
        yield from _chapters(file.stem, _without_licence(text_of(file)))


def read_tales(folder: Path, *, patterns: Sequence[str]) -> Iterator[Document]:
    """One document per row of Orange's .tab tables: title and content, grouped by title."""
    for pattern in patterns:
        for file in files_of(folder, pattern):
            rows = csv.reader(StringIO(text_of(file)), delimiter="\t")
            heads = next(rows)
            title, content = heads.index("Title"), heads.index("Content")
            for row in rows:
                # Two more head lines give types and roles; they have no content of any length.
                if len(row) == len(heads):
                    # A line end of the source is two blanks here.
                    parts = [" ".join(part.split()) for part in row[content].split("  ")]
                    yield from document(row[title], row[title], [row[title], *parts])


def read_speeches(folder: Path) -> Iterator[Document]:
    """One document per address in `folder`/YEAR-President-N.txt, grouped by year.

    A year may hold a spoken and a written version of the same address.
    """
    for file in files_of(folder, "*.txt"):
        yield Document(id=file.stem, group=file.stem[:4], text=file.read_text("utf-8").strip())


def _chapters(name: str, text: str) -> Iterator[Document]:
    starts = [0, *(found.start() for found in _CHAPTER.finditer(text)), len(text)]
    for number, (start, end) in enumerate(pairwise(starts)):
        place = f"{name}/{number}"
        yield from document(place, place, unwrapped(text[start:end]))


def unwrapped(text: str) -> list[str]:
    """Paragraphs: wrapped prose on one line each, verse and speeches line by line."""
    found = []
    for part in _PARAGRAPH_BREAK.split(text.replace("\t", " ")):
        lines = [" ".join(line.split()) for line in part.splitlines() if line.strip()]
        if lines:
            # All but the last: that one ends where the paragraph does, however short it is.
            prose = all(len(line) > WRAPPED_CHARACTERS for line in lines[:-1])
            found.append(_EMPHASIS.sub(r"\1", (" " if prose else "\n").join(lines)))
    return found


def _without_licence(text: str) -> str:
    starts = list(_GUTENBERG_START.finditer(text))
    # The last of them: some files carry an older header within the newer one.
    text = text[starts[-1].end() :] if starts else text
    end = _GUTENBERG_END.search(text)
    return text[: end.start()] if end else text
