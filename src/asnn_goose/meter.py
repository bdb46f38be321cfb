"""Wall-clock and peak memory of a piece of work."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(slots=True)
class Reading:
    """Filled when the measured block ends: seconds, and the process's peak resident bytes."""

    seconds: float = 0.0
    peak_bytes: int = 0


@contextmanager
def measured() -> Iterator[Reading]:
    """Measure the block. Where the kernel cannot reset the peak it counts from process start."""
    reading = Reading()
    reset_peak()
    started = time.perf_counter()
    try:
        yield reading
    finally:
        reading.seconds = time.perf_counter() - started
        reading.peak_bytes = peak_bytes()


def reset_peak() -> None:
    """Let Linux forget the process's peak so far."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_bytes() -> int:
    """Peak resident memory of this process in bytes."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * 1024


def resident_mib() -> float:
    """Resident memory of this process now, in MiB (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    line = next(line for line in lines if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024
