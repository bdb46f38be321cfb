"""What every peer reports, and how a program's memory is watched while it runs."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""Where a process of its own finds the package `bench`."""

WATCH = 0.02
"""Seconds between two looks at a program's memory."""


class NotRunError(RuntimeError):
    """A peer cannot be measured here; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Speed of one peer in tokens per second, peak memory in bytes; None where not measured."""

    name: str
    decode: float | None = None
    prefill: float | None = None
    memory: int | None = None
    note: str = ""

    def __str__(self) -> str:
        if self.decode is None and self.prefill is None:
            return f"{self.name:<34} not run: {self.note}"
        speeds = "".join(
            f"{'-' if value is None else f'{value:,.1f}':>10}"
            for value in (self.decode, self.prefill)
        )
        memory = "-" if self.memory is None else f"{self.memory / 1e6:,.0f}"
        return f"{self.name:<34}{speeds}{memory:>9}  {self.note}".rstrip()


HEADINGS = f"{'':34}{'decode':>10}{'prefill':>10}{'peak MB':>9}  (tokens/s)"


def not_run(name: str, reason: object) -> Peer:
    """A peer that could not be measured."""
    return Peer(name=name, note=" ".join(str(reason).split()))


def watched(command: Sequence[str | Path], **environment: str) -> tuple[str, int | None]:
    """Run a program; its standard output, and its peak resident memory where Linux tells.

    Raises NotRunError with the last line it wrote where it cannot be started or fails.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        try:
            process = subprocess.Popen(
                [str(word) for word in command],
                stdout=out,
                stderr=err,
                env=os.environ | environment,
            )
        except OSError as error:
            raise NotRunError(error) from error
        peak = None
        while process.poll() is None:
            peak = peak_memory(process.pid) or peak
            time.sleep(WATCH)
        for stream in (out, err):
            stream.seek(0)
        said, complaint = out.read(), err.read()
    if process.returncode:
        last = (complaint or said).strip().splitlines()[-1:] or ["without a word"]
        raise NotRunError(f"{Path(command[0]).name} failed ({process.returncode}): {last[0]}")
    return said, peak


def peak_memory(pid: int) -> int | None:
    """Highest resident memory so far of a process, in bytes.

    Not what wait4 says: that counts the process that started it.
    """
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(found[0]) * 1024 if found else None
