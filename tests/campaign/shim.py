"""faults.c compiled, loaded before everything else, and armed from Python."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

WRITES, REMOVES, SYNCS, READS = 1, 2, 4, 8
"""Kinds of calls, as in faults.c; added up."""

CHANGES, ALL = WRITES | REMOVES, WRITES | REMOVES | SYNCS | READS

FOR_EVER = sys.maxsize

SOURCE = Path(__file__).with_name("faults.c")


def compiler() -> str | None:
    """A C compiler, if there is one."""
    return shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


def build(folder: Path) -> Path:
    """The compiled shim, in `folder`."""
    target = folder / "faults.so"
    if not target.exists():
        command = [str(compiler()), "-O1", "-shared", "-fPIC", "-Wall", "-Werror"]
        fresh = folder / f"faults-{os.getpid()}.so"
        subprocess.run([*command, "-o", str(fresh), str(SOURCE), "-ldl"], check=True)
        fresh.replace(target)
    return target


def is_loaded() -> bool:
    """Whether this process was started with the shim."""
    return hasattr(ctypes.CDLL(None), "goose_arm")


def arm(
    folder: Path,
    *,
    kinds: int,
    first: int,
    times: int = 1,
    error: int = 0,
    number: int = 0,
    note: Path | None = None,
) -> None:
    """Let calls from number `first` on, on what lies under `folder`, fail or send a signal.

    kinds   sum of WRITES, REMOVES, SYNCS and READS
    times   so many calls in a row
    error   what they fail with; number: the signal that this process gets instead
    note    file that is told which call was the first
    Of a signal's write only half is made before it.
    """
    long = ctypes.c_long
    prefix, told = str(folder).encode(), str(note or "").encode()
    ctypes.CDLL(None).goose_arm(prefix, told, kinds, long(first), long(times), error, number)


def seen(kinds: int) -> int:
    """Calls of some of the armed kinds since `arm`."""
    count = ctypes.CDLL(None).goose_seen
    count.restype = ctypes.c_long
    return int(count(kinds))


def shift_clock(seconds: int) -> None:
    """Let the wall clock jump."""
    ctypes.CDLL(None).goose_shift_clock(ctypes.c_long(seconds))
