"""Files and folders that are on the disk, whole, or not there at all."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

_BLOCK = 4096
"""Bytes that a check writes: a full disk still takes an empty file."""


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
    temporary = path.with_name(f".{path.name}.part")
    try:
        with system_errors():
            yield temporary
        sync(temporary)
        # Bytes first, then the name: a name that reached the disk earlier could point at nothing
        # after a crash.
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder to fill; it takes the name `path` once all of it is on the disk.

    If filling fails, or the machine does, `path` does not exist and nothing else was touched.
    """
    temporary = path.with_name(f".{path.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        with system_errors():
            yield temporary
        # Every file before its folder, and the folder before the new name.
        for entry in sorted(temporary.rglob("*")):
            sync(entry)
        sync(temporary)
        temporary.rename(path)
    # Ctrl-C too: what is half written must not stay.
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
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
    with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as scratch:
        fresh, old = Path(scratch) / "fresh", Path(scratch) / "old"
        fresh.mkdir()
        yield fresh
        for file in fresh.iterdir():
            sync(file)
        if path.exists():
            path.rename(old)
        try:
            fresh.rename(path)
        except OSError:
            if old.exists():
                shutil.move(old, path)
            raise


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


def remove_leftovers(folder: Path) -> None:
    """Delete what an interrupted write left in `folder`."""
    for entry in folder.glob(".*.part"):
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


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
