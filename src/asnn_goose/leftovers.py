"""Folders for what is being written, and what the killed leave of theirs.

In comes the path that something is to have one day; out goes a folder beside it. Nothing of a
living process is ever removed.
"""

from __future__ import annotations

import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_HALF = ".unfinished"


@contextmanager
def scratch(path: Path) -> Iterator[Path]:
    """Give a folder beside `path` for what is to become it; the folder is gone afterwards.

    What processes that were killed have left of theirs is removed first.
    """
    remove_leftovers(path.parent, of=path.name)
    folder, lock = _new_scratch(path)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _new_scratch(path: Path) -> tuple[Path, int]:
    """A new folder, and a descriptor that holds it as long as this process lives."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=_HALF, dir=path.parent))
        with suppress(FileNotFoundError):
            lock = os.open(folder, os.O_RDONLY)
            with suppress(OSError):  # some network disks know no locks: nothing is removed there
                fcntl.flock(lock, fcntl.LOCK_EX)
            # Before it was held another process may have taken it for a leftover.
            if folder.exists():
                return folder, lock
            os.close(lock)


def is_leftover(entry: Path) -> bool:
    """Whether a name is that of a `scratch`."""
    return entry.name.startswith(".") and entry.name.endswith(_HALF)


def remove_leftovers(folder: Path, *, of: str = "*") -> None:
    """Delete what interrupted writes left in `folder`, of one name or all; others' go on."""
    for entry in folder.glob(f".{of if of == '*' else glob.escape(of)}.*{_HALF}"):
        # A lock of the kernel and not an age: it falls with the process, however that ends.
        lock = _locked(entry)
        if lock is not None:
            shutil.rmtree(entry, ignore_errors=True)
            os.close(lock)


def _locked(folder: Path) -> int | None:
    """A descriptor that holds a folder; None where another process does, or it is gone."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
