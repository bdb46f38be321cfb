"""Wall-clock and peak memory of a piece of work."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


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
        # 5 is the kernel's word for the peak of resident memory.
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: torch.device) -> int:
    """Highest memory use so far in bytes: on the device if it is a GPU, else resident memory."""
    if device.type != "cuda":
        return peak_bytes()
    import torch  # not before it is there anyway: the engine's own memory is measured here too

    return torch.cuda.max_memory_allocated(device)


def peak_bytes() -> int:
    """Peak resident memory of this process in bytes."""
    # Not getrusage where it can be helped: its maximum is inherited from whoever started us.
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
