"""Where fetched things are kept, and folders that appear there whole or not at all."""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from asnn_goose import disk, leftovers


class SourceError(RuntimeError):
    """A package, a teacher or a text could not be had; the message says what would help."""


def cache_dir() -> Path:
    """Where everything fetched or tokenised is kept.

    $ASNN_GOOSE_CACHE, else $XDG_CACHE_HOME/asnn-goose, else ~/.cache/asnn-goose. What killed
    processes left there goes when a process asks for it first.
    """
    shared = os.environ.get("XDG_CACHE_HOME")
    usual = (Path(shared) if shared else Path.home() / ".cache") / "asnn-goose"
    own = os.environ.get("ASNN_GOOSE_CACHE")
    folder = Path(own).expanduser() if own else usual
    _sweep(folder)
    return folder


@functools.cache
def _sweep(folder: Path) -> None:
    """Remove what killed processes left, once: what is whole is not written again.

    Nothing else would remove a leftover beside it. What living processes fill stays.
    """
    # Kinds and names, and no deeper: what lies in them appeared with them.
    for place in (folder, *folder.glob("*/"), *folder.glob("*/*/")):
        leftovers.remove_leftovers(place)


@contextmanager
def new_folder(target: Path, *, replace: bool = False) -> Iterator[Path]:
    """A temporary folder beside `target` that takes its name when the block ends without error.

    Whoever sees `target` sees it whole, whatever interrupts the block. When another process was
    faster its folder stays and ours is dropped, unless `replace` is set. Raises SourceError where
    the cache cannot be written.
    """
    with ExitStack() as stack:
        with _cache_errors(target, every=True):
            target.parent.mkdir(parents=True, exist_ok=True)
            fresh = stack.enter_context(disk.filled(target))
        stack.enter_context(_cache_errors(target))
        yield fresh
        disk.sync_all(fresh)
        if replace:
            disk.put_in_place(fresh, target)
        else:
            _rename_unless_there(fresh, target)


@contextmanager
def _cache_errors(target: Path, *, every: bool = False) -> Iterator[None]:
    """Turn a full or read-only disk, or with `every` any refusal of it, into a SourceError."""
    try:
        yield
    except OSError as error:
        if not every and error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EROFS}:
            raise
        raise SourceError(
            f"cannot write {target}: {error}. Free some space, or set ASNN_GOOSE_CACHE to a "
            f"folder that can be written"
        ) from error


def _rename_unless_there(fresh: Path, target: Path) -> None:
    try:
        fresh.rename(target)
    except OSError:
        if not target.is_dir():
            raise
