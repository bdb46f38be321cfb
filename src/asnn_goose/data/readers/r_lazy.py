"""Read the lazy-load database of an R package, without R.

A database `Rdata` is two files. `Rdata.rdx` is a gzipped serialised list whose `variables` give
the (offset, length) of every object in `Rdata.rdb`; an entry there is its uncompressed length
(4 bytes, big-endian) and a zlib stream of the serialised object. What is serialised is left to
the library rdata.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import rdata

from asnn_goose.data.document import DataError, Document

AUSTEN_NOVELS = 6
_UNREADABLE = (OSError, EOFError, zlib.error, LookupError, TypeError, ValueError, AttributeError)


def read_novels(database: Path) -> Iterator[Document]:
    """One document per novel of the R package janeaustenr: hard-wrapped lines are joined again."""
    novels = read_lazy_data(database)
    if len(novels) != AUSTEN_NOVELS:
        raise DataError(f"{database} holds {len(novels)} novels, wanted {AUSTEN_NOVELS}")
    for name, lines in sorted(novels.items()):
        paragraphs = re.split(r"\n{2,}", "\n".join(lines).strip())
        text = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
        yield Document(id=name, group=name, text=text)


def read_lazy_data(database: Path) -> dict[str, Any]:
    """Every object of a lazy-load database by name; `database` is the path without a suffix.

    Vectors become arrays, lists with names dicts. Raises DataError for files that are missing or
    cannot be read.
    """
    try:
        index = _unserialised(gzip.decompress(database.with_suffix(".rdx").read_bytes()))
        stored = database.with_suffix(".rdb").read_bytes()
        spans = {name: map(int, span) for name, span in index["variables"].items()}
        return {
            str(name): _unserialised(zlib.decompress(stored[start + 4 : start + length]))
            for name, (start, length) in spans.items()
        }
    except _UNREADABLE as error:
        raise DataError(f"{database} is not a readable R database: {error!r}") from error


def _unserialised(content: bytes) -> Any:
    return rdata.conversion.convert(rdata.parser.parse_data(content, extension=".rds"))
