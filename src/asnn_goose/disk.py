"""Files and folders that are on the disk, whole, or not there at all."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from asnn_goose.leftovers import scratch

_BLOCK = 4096
"""Bytes that a check writes: a full disk still takes an empty file."""

_THERE = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)
"""What a rename of a folder answers where something has the name."""


class NotTextError(ValueError):
    """A file that is to be text is none; the message names it."""


class TakenError(ValueError):
    """What is to be written would replace something of another kind; the message names it."""


def read_text(path: Path) -> str:
    """The text in a file. Raises NotTextError where it is not UTF-8, OSError without a file."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise NotTextError(
            f"{path} is not UTF-8 at byte {error.start} (0x{error.object[error.start]:02x}); "
            "save it as UTF-8"
        ) from error


def sync(path: Path) -> None:
    """Wait until a file's bytes, or a folder's entries, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Replace a file atomically: after a crash it holds the old text or the new."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Replace a file atomically: after a crash it holds the old bytes or the new.

    A link stays one, and a device or pipe is written to.
    """
    with replaced_file(path) as temporary:
        temporary.write_bytes(data)


@contextmanager
def replaced_file(path: Path) -> Iterator[Path]:
    """Give the name of a file to write; it takes the place of `path`, or of what a link leads to.

    If writing fails `path` stays as it was. A device or pipe is given itself.
    """
    if path.exists() and not path.is_file():
        yield path
        return
    path = path.resolve()
    with scratch(path) as folder:
        fresh = folder / path.name
        with system_errors():
            yield fresh
        sync(fresh)
        # Bytes first, then the name: a name that reached the disk earlier could point at nothing
        # after a crash.
        fresh.replace(path)
    sync(path.parent)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder to fill; it takes the name `path` once all of it is on the disk.

    If filling fails, or the machine does, `path` does not exist and nothing else was touched.
    Raises TakenError where another process was faster: what it made stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with filled(path) as fresh:
        yield fresh
        sync_all(fresh)
        try:
            fresh.rename(path)
        except OSError as error:
            if error.errno not in _THERE:
                raise
            raise TakenError(
                f"{path} has appeared meanwhile: another process made it, and it stays as it is"
            ) from error
    sync(path.parent)


@contextmanager
def replaced_folder(path: Path, *, kind: str, marks: str, holds: Iterable[str]) -> Iterator[Path]:
    """Give a temporary folder to fill; it takes the place of the folder `path`, if there is one.

    kind   what such a folder is, for messages
    marks  a file that every one of them has
    holds  patterns of the other names in it

    If filling fails `path` stays as it was. Of two processes that do so at once one comes last.
    Raises TakenError where `path` is a file, a folder of another kind, or holds anything else too.
    """
    path = path.resolve()  # a link to a folder stays one
    _check_ours(path, kind=kind, marks=marks, holds=(marks, *holds))
    path.parent.mkdir(parents=True, exist_ok=True)
    with filled(path) as fresh:
        yield fresh
        sync_all(fresh)
        put_in_place(fresh, path)
    sync(path.parent)


@contextmanager
def filled(path: Path) -> Iterator[Path]:
    """Give an empty folder beside `path` to fill and to move; what is left there is deleted."""
    with scratch(path) as folder, system_errors():
        # Inside, for the outer one is closed to others, and a rename would keep that.
        fresh = folder / "fresh"
        fresh.mkdir()
        yield fresh


def sync_all(folder: Path) -> None:
    """Wait until a folder and all that is in it are on the disk: files before their folders."""
    for entry in sorted(folder.rglob("*"), reverse=True):
        sync(entry)
    sync(folder)


def put_in_place(fresh: Path, path: Path) -> None:
    """Give a folder the name `path`; a folder that has it gets the other name, in one step."""
    while not _exchanged(fresh, path):
        try:
            fresh.rename(path)
        except OSError as error:
            # Another process was faster: next time there is something to change places with.
            if error.errno not in _THERE:
                raise
        else:
            return


def _check_ours(path: Path, *, kind: str, marks: str, holds: Iterable[str]) -> None:
    """Raise TakenError for what would be lost."""
    if not path.exists():
        return
    entries = sorted(path.iterdir()) if path.is_dir() else [path]
    if entries and not (path / marks).is_file():
        raise TakenError(
            f"{path} exists and is no {kind}: choose another folder, or remove it first"
        )
    for entry in entries:
        if not any(entry.match(pattern) for pattern in holds):
            raise TakenError(
                f"{path} holds {entry.name!r} beside a {kind}, which would be lost: choose another "
                "folder, or move it away first"
            )


def _exchanged(one: Path, other: Path) -> bool:
    """Let two folders change names; False where there is no other."""
    libc = ctypes.CDLL(None)
    at, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    # One call, for between two renames a crash would leave neither under the name.
    done = hasattr(libc, "renameat2") and not libc.renameat2(
        at, os.fsencode(one), at, os.fsencode(other), exchange
    )
    return done or _moved_aside(one, other)


def _moved_aside(one: Path, other: Path) -> bool:
    """What `_exchanged` does, in two steps, for systems and disks that know no exchange."""
    old = one.with_name("old")
    try:
        other.rename(old)
    except FileNotFoundError:
        return False
    try:
        one.rename(other)
    except OSError:
        old.rename(other)
        raise
    return True


def check_file(
    path: Path, *, kind: str = "file", is_one: Callable[[Path], bool] = Path.is_file
) -> None:
    """Raise OSError where a file could not be written at `path`: now, before the work is done.

    kind    what is to be written, for messages
    is_one  tells of a file whether it is of that kind

    Raises TakenError where a file of another kind lies there, which would be lost.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder, and a file is to be written", str(path))
    if path.exists():
        # Opened and not asked for its rights: root may open everything, and a read-only disk says
        # nothing of itself before.
        with path.open("ab"):
            pass
    if path.is_file() or not path.exists():
        check_folder(path.resolve().parent)
    if path.is_file() and path.stat().st_size and not is_one(path):
        raise TakenError(f"{path} exists and is no {kind}: choose another file, or remove it first")


def begins(start: bytes) -> Callable[[Path], bool]:
    """Tells of a file whether it begins with these bytes."""

    def is_one(path: Path) -> bool:
        with path.open("rb") as file:
            return file.read(len(start)) == start

    return is_one


JSON, PAGE, GGUF = begins(b"{"), begins(b"<"), begins(b"GGUF")


def check_folder(path: Path) -> None:
    """Raise OSError where no file could be written into a folder, or the folder not be made.

    A disk without room for a block is found here too.
    """
    existing = next(place for place in (path, *path.absolute().parents) if place.exists())
    if not existing.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "is no folder", str(existing))
    try:
        # Tried instead of asked: quotas and network disks refuse what `os.access` allows.
        with tempfile.TemporaryFile(dir=existing) as trial:
            trial.write(bytes(_BLOCK))
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


@contextmanager
def system_errors() -> Iterator[None]:
    """Raise as OSError what libraries in Rust say of the system: a full disk, above all."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        if (found := re.search(r"\(os error (\d+)\)", str(error))) is None:
            raise
        raise OSError(int(found[1]), os.strerror(int(found[1]))) from error
