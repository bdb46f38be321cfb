"""Read the lazy-load database of an R package, without R.

A database `Rdata` is two files. `Rdata.rdx` is a gzipped serialised list whose `variables` give
the (offset, length) of every object in `Rdata.rdb`; an entry there is its uncompressed length
(4 bytes, big-endian) and a zlib stream of the serialised object. Serialisation is R's XDR format,
versions 2 and 3: see "Serialization Formats" in the R Internals manual.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path
from typing import Any

from asnn_goose.data.document import DataError

_HAS_ATTRIBUTES, _HAS_TAG = 1 << 9, 1 << 10
_NIL, _REFERENCE = 254, 255
_SYMBOL, _PAIRLIST, _CHARACTERS, _LOGICALS, _INTEGERS = 1, 2, 9, 10, 13
_REALS, _STRINGS, _LIST = 14, 16, 19


def read_lazy_data(database: Path) -> dict[str, Any]:
    """Every object of a lazy-load database by name; `database` is the path without a suffix.

    Vectors become Python lists, or dicts where they have names. Raises DataError for files that
    are missing or hold what is not read here.
    """
    try:
        index = _unserialise(gzip.decompress(database.with_suffix(".rdx").read_bytes()))
        stored = database.with_suffix(".rdb").read_bytes()
        spans = index["variables"].items()
        return {
            name: _unserialise(zlib.decompress(stored[start + 4 : start + length]))
            for name, (start, length) in spans
        }
    except (OSError, EOFError, zlib.error, KeyError, TypeError, UnicodeDecodeError) as error:
        raise DataError(f"{database} is not a readable R database: {error!r}") from error


def _unserialise(content: bytes) -> Any:
    reader = _Reader(content)
    reader.header()
    return reader.item()


class _Reader:
    """A cursor over one serialised object."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0
        self._references: list[str] = []

    def header(self) -> None:
        """Skip format, versions and, since version 3, the name of the native encoding."""
        if self._take(2) != b"X\n":
            raise DataError("R data is not in XDR format")
        version, _, _ = self._integers(3)
        if version == 3:
            self._take(self._integers(1)[0])

    def item(self) -> Any:
        """The next object; see the R Internals manual for the order of its parts."""
        flags = self._integers(1)[0]
        kind = flags & 0xFF
        if kind == _NIL:
            return None
        if kind == _REFERENCE:
            return self._references[(flags >> 8) - 1]
        if kind == _SYMBOL:
            self._references.append(self.item())
            return self._references[-1]
        if kind == _CHARACTERS:
            return self._characters()
        if kind == _PAIRLIST:
            return self._pairlist(flags)
        values = self._vector(kind)
        attributes = self.item() if flags & _HAS_ATTRIBUTES else {}
        return dict(zip(attributes["names"], values, strict=True)) if attributes else values

    def _vector(self, kind: int) -> list[Any]:
        count = self._integers(1)[0]
        if kind in (_LOGICALS, _INTEGERS):
            return list(self._integers(count))
        if kind == _REALS:
            return list(struct.unpack(f">{count}d", self._take(8 * count)))
        if kind in (_STRINGS, _LIST):
            return [self.item() for _ in range(count)]
        raise DataError(f"R data holds an object of type {kind}, which is not read here")

    def _pairlist(self, flags: int) -> dict[str, Any]:
        if flags & _HAS_ATTRIBUTES:
            raise DataError("R data holds a pairlist with attributes, which is not read here")
        tag = self.item() if flags & _HAS_TAG else ""
        value = self.item()
        return {tag: value} | (self.item() or {})

    def _characters(self) -> str | None:
        length = self._integers(1)[0]
        return None if length < 0 else self._take(length).decode()

    def _integers(self, count: int) -> tuple[int, ...]:
        return struct.unpack(f">{count}i", self._take(4 * count))

    def _take(self, count: int) -> bytes:
        taken = self._content[self._at : self._at + count]
        if len(taken) < count:
            raise EOFError(f"{count} bytes wanted at {self._at}, {len(taken)} left")
        self._at += count
        return taken
