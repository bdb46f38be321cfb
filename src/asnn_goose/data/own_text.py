"""The user's own text: a .txt file, or a .jsonl or .parquet file with one record a row."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any

from asnn_goose.data.document import DataError, Document, Split, split_of
from asnn_goose.data.tables import read_rows

SUFFIXES = (".txt", ".jsonl", ".parquet")

KEY = "text"
"""Where the text of a .jsonl record stands."""

BLOCK_CHARACTERS = 2_000
"""A text file is dealt out to the splits in blocks of about this length, cut at paragraph ends."""

_GOOD_CUTS = tuple(map(re.compile, (r"\n\s*\n", r"\n", r"\s")))


def read_own(file: Path, split: Split) -> Iterator[Document]:
    """Documents of one split of the user's file.

    .jsonl: every line is an object with the text under "text"; a line is dealt to a split by a hash
    of its text, so equal texts never end up in two splits. .parquet: likewise by rows, with the
    text in the column "text", else in the only one of strings. .txt: the file is one document, and
    "all" gives it whole; for the other splits it is cut at paragraph ends into blocks, dealt out by
    a hash of their text, and neighbouring blocks of one split stay one document.

    Raises DataError, naming file, line or byte, for what cannot be read.
    """
    if not file.is_file():
        raise DataError(f"{file}: no such file")
    if file.suffix not in SUFFIXES:
        raise DataError(f"{file}: wanted a file that ends in {' or '.join(SUFFIXES)}")
    if file.suffix == ".txt":
        return _read_text(file, split)
    if file.suffix == ".parquet":
        return deal(read_rows(file), split, nothing=f"{file} is empty: wanted rows")
    lines = (
        (f"{file.name}:{number}", _text_in(record, place=place))
        for number, place, record in json_lines(file)
    )
    return deal(lines, split, nothing=f'{file} is empty: wanted lines like {{"{KEY}": ...}}')


def deal(texts: Iterable[tuple[str, str]], split: Split, *, nothing: str) -> Iterator[Document]:
    """Documents of one split out of (id, text), dealt out by a hash of the text.

    Blank texts are left out. Raises DataError, saying `nothing`, where all of them are blank.
    """
    empty = True
    for id_, text in texts:
        if text.strip():
            empty = False
            group = _digest(text)
            if split in ("all", split_of(group)):
                yield Document(id=id_, group=group, text=text)
    # Only at the end: a split may be empty where the whole is not.
    if empty:
        raise DataError(nothing)


def content_hash(file: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with _opened(file) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read_text(file: Path, split: Split) -> Iterator[Document]:
    with _opened(file) as stream:
        text = _decode(stream.read(), place=str(file), start=0).removeprefix("\ufeff")
    if not text.strip():
        raise DataError(f"{file} is empty: wanted text")
    if split == "all":
        yield Document(id=file.name, group=file.name, text=text)
        return
    # Neighbours of one split are joined again, so that a document is as long as it can be.
    runs = itertools.groupby(_blocks(text), key=lambda block: split_of(_digest(block)))
    for number, (where, blocks) in enumerate(runs):
        run = "".join(blocks)
        if where == split and run.strip():
            yield Document(id=f"{file.name}:{number}", group=_digest(run), text=run)


def _blocks(text: str) -> Iterator[str]:
    """Cut a text into blocks; joined again they are the text."""
    start = 0
    while start < len(text):
        stop = _block_end(text, start)
        yield text[start:stop]
        start = stop


def _block_end(text: str, start: int) -> int:
    """The first good cut between one and two block lengths: after a paragraph, a line, a word."""
    first, last = start + BLOCK_CHARACTERS, start + 2 * BLOCK_CHARACTERS
    if first >= len(text):
        return len(text)
    # Better a block twice as long than one that ends within a word.
    for cut in _GOOD_CUTS:
        if found := cut.search(text, first, last):
            return found.end()
    return min(last, len(text))


def json_lines(file: Path) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """(number, place, object) of every line of a .jsonl file that is not blank.

    Raises DataError, naming the place, for what is no UTF-8, no JSON or no object.
    """
    with _opened(file) as stream:
        start = 0
        for number, line in enumerate(stream, 1):
            place = f"{file}, line {number}"
            text = _decode(line, place=place, start=start)
            start += len(line)
            if text.strip():
                yield number, place, _object(text, place=place)


def _object(line: str, *, place: str) -> dict[str, Any]:
    try:
        record = json.loads(line.removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:  # also numbers too long, brackets too deep
        raise DataError(f"{place}: not JSON ({error}), found {_short(line)}") from error
    if not isinstance(record, dict):
        raise DataError(f"{place}: wanted an object, found {_short(line)}")
    return record


def _text_in(record: dict[str, Any], *, place: str) -> str:
    if KEY not in record:
        raise DataError(f"{place}: no key {KEY!r}, found {', '.join(map(repr, record)) or 'none'}")
    text = record[KEY]
    if text is None:
        return ""  # as a row of a table without text
    if not isinstance(text, str):
        raise DataError(f"{place}: {KEY!r} is to be text, found {_short(json.dumps(text))}")
    check_whole(text, key=KEY, place=place)
    return text


def strings_of(value: Any) -> Iterator[str]:
    """Every text in a record, whatever its key."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from strings_of(inner)


def check_whole(text: str, *, key: str, place: str) -> None:
    """Raise DataError where JSON has brought in half of a character, which no tokenizer takes."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{place}: {key!r} holds {json.dumps(text[error.start])}, half of a character, after"
            f" {error.start} characters: write it whole"
        ) from error


def _decode(content: bytes, *, place: str, start: int) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{place}: not UTF-8 at byte {start + error.start} of the file "
            f"(0x{content[error.start]:02x}); save it as UTF-8"
        ) from error


def _opened(file: Path) -> BufferedReader:
    # A pipe would wait for a writer for ever, and could be read once where we read twice.
    if file.exists() and not file.is_file():
        raise DataError(f"{file} is no file: write the text into one")
    try:
        return file.open("rb")
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error}") from error


def _short(found: str) -> str:
    found = found.strip()
    return found if len(found) <= 60 else f"{found[:60]}..."


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
