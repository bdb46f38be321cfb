"""Records that many processes add to a folder at once, and that a kill at any moment cannot spoil.

Every writer appends to a file of its own, so nothing is locked and nothing ever rewritten:

    file    MAGIC, then records one after the other
    record  key (16 bytes), length of the payload (8 bytes, little endian), digest (16), payload

A writer that is killed leaves at most one record that is not whole, the last of its file: it is
passed over. The digest is of key, length and payload, and is looked at whenever a record is read.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from asnn_goose import disk

MAGIC = b"goose records 1\n"
KEY_BYTES = 16
DIGEST_BYTES = 16
_LENGTH_BYTES = 8
_HEAD_BYTES = KEY_BYTES + _LENGTH_BYTES + DIGEST_BYTES
FILE_BYTES = 1 << 28
"""A file that has reached this size is left, and another one begun."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the payload of a record is, and what its digest must be."""

    file: Path
    offset: int
    length: int
    digest: bytes


def _digest(key: bytes, payload: bytes) -> bytes:
    length = len(payload).to_bytes(_LENGTH_BYTES, "little")
    return hashlib.blake2b(key + length + payload, digest_size=DIGEST_BYTES).digest()


class RecordFolder:
    """Payloads by key (16 bytes) in a folder that need not exist yet.

    `tell` hears of records whose bytes are not as they were written; these count as missing.
    `about` is kept beside them, in about.json, for whoever wonders what they are.
    """

    def __init__(self, folder: Path, *, about: str, tell: Callable[[str], None]) -> None:
        self.folder, self._about = folder, about
        self._tell = tell
        self._places: dict[bytes, _Place] = {}
        self._scanned: dict[Path, int] = {}
        self._own: Path | None = None
        self._full = False
        self.refresh()

    def __contains__(self, key: bytes) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)

    @property
    def size(self) -> int:
        """Bytes of the payloads that are there."""
        return sum(place.length for place in self._places.values())

    def refresh(self) -> None:
        """See what has been added since, by whoever."""
        # The newest record of a key counts, for it may stand in for a damaged one: names begin with
        # the time.
        for file in sorted(self.folder.glob("*.records"), reverse=True):
            for key, place in dict(self._new_records(file)).items():
                self._places.setdefault(key, place)

    def get(self, key: bytes) -> bytes | None:
        """The payload of a key; None where there is none, or none that is whole."""
        if key not in self._places:
            self.refresh()
        place = self._places.get(key)
        if place is None:
            return None
        try:
            with place.file.open("rb") as file:
                file.seek(place.offset)
                payload = file.read(place.length)
        except OSError:
            payload = b""
        if _digest(key, payload) == place.digest:
            return payload
        self._tell(f"{place.file}: the record at byte {place.offset} is damaged and is made again")
        del self._places[key]
        return None

    def put(self, key: bytes, payload: bytes) -> None:
        """Keep a payload; where the disk is full that is told once, and nothing more is kept."""
        if self._full:
            return
        digest = _digest(key, payload)
        length = len(payload).to_bytes(_LENGTH_BYTES, "little")
        try:
            file, offset = self._append(key + length + digest + payload)
        except OSError as error:
            self._full = True
            self._tell(f"{self.folder}: cannot be written ({error}); nothing more is kept there")
            return
        self._places[key] = _Place(file, offset + _HEAD_BYTES, len(payload), digest)

    def _append(self, record: bytes) -> tuple[Path, int]:
        """Add to the end of our file; gives the file and where the record begins in it."""
        file = self._own_file()
        with file.open("ab") as stream:
            start = stream.tell()
            try:
                stream.write(record)
                stream.flush()
            except OSError:
                os.truncate(file, start)
                raise
        self._scanned[file] = start + len(record)
        return file, start

    def _own_file(self) -> Path:
        own = self._own
        if own is None or self._scanned[own] >= FILE_BYTES:
            self.folder.mkdir(parents=True, exist_ok=True)
            disk.write_text(self.folder / "about.json", self._about + "\n")
            own = self._own = self.folder / f"{time.time_ns():020d}-{secrets.token_hex(4)}.records"
            with own.open("xb") as stream:
                stream.write(MAGIC)
            self._scanned[own] = len(MAGIC)
        return own

    def _new_records(self, file: Path) -> Iterator[tuple[bytes, _Place]]:
        """Whole records behind what has been seen of a file."""
        offset = self._scanned.get(file, 0)
        try:
            size = file.stat().st_size
            if size <= offset:
                return
            with file.open("rb") as stream:
                if not offset:
                    if stream.read(len(MAGIC)) != MAGIC:
                        return
                    offset = len(MAGIC)
                stream.seek(offset)
                while (found := _next(stream.read(_HEAD_BYTES), file, offset)) is not None:
                    key, place = found
                    if place.offset + place.length > size:
                        break
                    offset = place.offset + place.length
                    stream.seek(offset)
                    yield key, place
        except OSError:
            return
        finally:
            if offset:
                self._scanned[file] = offset


def _next(head: bytes, file: Path, offset: int) -> tuple[bytes, _Place] | None:
    if len(head) < _HEAD_BYTES:
        return None
    length = int.from_bytes(head[KEY_BYTES : KEY_BYTES + _LENGTH_BYTES], "little")
    place = _Place(file, offset + _HEAD_BYTES, length, head[-DIGEST_BYTES:])
    return head[:KEY_BYTES], place
