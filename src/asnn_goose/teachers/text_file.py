"""A .jsonl file of texts that grows for hours, and is there whole or not at all."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from asnn_goose import disk


class TextFileError(ValueError):
    """A file of texts cannot be begun, continued or written; the message says what would help."""


class TextFile:
    """Records such as {"text": ...}, one a line, and beside them what they were made with.

    texts.jsonl          appears once all records are written
    .texts.jsonl.part    the records until then, whole batches on the disk after each
    texts.settings.json  the settings, from the first batch on; a resumed file must share them

    Raises TextFileError where the name does not end in .jsonl.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        if path.suffix != ".jsonl":
            raise TextFileError(f"out = {path}: must end in .jsonl")
        self.path = path
        self.part = path.with_name(f".{path.name}.part")
        self.record = path.with_suffix(".settings.json")
        # Through JSON, so that what is compared later has been through it as well.
        self._settings = json.loads(json.dumps(settings))
        self._stream: BinaryIO | None = None

    def check(self, *, resume: bool) -> bool:
        """Whether the name is free, or with `resume` ours; True where all is written already.

        Raises TextFileError for a name that is taken, nothing to resume, or other settings.
        """
        if resume:
            self._check_settings()
            return self.path.exists()
        for taken in (self.path, self.part, self.record):
            if taken.exists():
                raise TextFileError(f"{taken} exists: resume it, or choose another file")
        return False

    def _check_settings(self) -> None:
        if not self.record.is_file():
            raise TextFileError(f"there is nothing to resume: {self.record} does not exist")
        try:
            found = dict(json.loads(self.record.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise TextFileError(f"{self.record} is not readable as settings: {error}") from error
        for name in sorted(found.keys() | self._settings.keys()):
            then, now = found.get(name), self._settings.get(name)
            if then != now:
                raise TextFileError(
                    f"{name} was {json.dumps(then)} when {self.path} was begun and is "
                    f"{json.dumps(now)} now: go on with the settings in {self.record}, or choose "
                    "another file"
                )

    @contextmanager
    def growing(self, *, batch: int) -> Iterator[list[dict[str, Any]]]:
        """Open the part for `append`, and give the records of the whole batches that it holds.

        What a crash left of a batch is dropped. The part takes the file's name where the block ends
        without error. Raises TextFileError where another process writes there or has done so with
        other settings, or the disk is full.
        """
        with _reported(self.part), self._opened() as stream:
            self._check_ours(stream)
            try:
                kept = _whole_batches(stream, batch)
            except (ValueError, RecursionError) as error:
                raise TextFileError(
                    f"{self.part} is damaged ({error}): remove it and begin anew"
                ) from error
            self._stream = stream
            try:
                yield kept
            finally:
                self._stream = None
            # Somebody may have put a file there; neither text is thrown away.
            if self.path.exists():
                raise TextFileError(f"{self.path} has appeared meanwhile: {self.part} is kept")
            self.part.rename(self.path)
            disk.sync(self.path.parent)

    def _check_ours(self, stream: BinaryIO) -> None:
        """Look once more, with the lock: another process may have begun, or ended, meanwhile."""
        if self.path.exists():
            if not os.fstat(stream.fileno()).st_size:
                self.part.unlink(missing_ok=True)  # our own, opened a moment ago
            raise TextFileError(f"{self.path} has appeared meanwhile: choose another file")
        self._check_settings()

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        """The part, held against a second process; its settings are on the disk before it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not self.record.exists():
            disk.write_text(self.record, json.dumps(self._settings, indent=1) + "\n")
        with self.part.open("a+b") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise TextFileError(f"another process is writing {self.part}") from error
            yield stream

    def append(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Add a batch, and wait until it is on the disk. Raises ValueError outside `growing`."""
        if self._stream is None:
            raise ValueError("append: only inside `growing`")
        lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        self._stream.write("".join(lines).encode())
        self._stream.flush()
        # Hours of drawing: no batch that was reported may be lost with the power.
        os.fsync(self._stream.fileno())


def _whole_batches(stream: BinaryIO, batch: int) -> list[dict[str, Any]]:
    """Records of a part, which is cut after the last whole batch."""
    stream.seek(0)
    lines = [line for line in stream.read().splitlines(keepends=True) if line.endswith(b"\n")]
    # Whole batches, since a batch shares one seed and can only be drawn anew as a whole.
    kept = lines[: len(lines) // batch * batch]
    stream.truncate(sum(map(len, kept)))
    return [json.loads(line) for line in kept]


@contextmanager
def _reported(path: Path) -> Iterator[None]:
    """Turn a full or read-only disk into a TextFileError."""
    try:
        yield
    except OSError as error:
        raise TextFileError(
            f"{path} cannot be written: {error.strerror}; what is written is kept: resume it"
        ) from error
