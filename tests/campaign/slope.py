"""What a process holds as it goes on: resident memory, Python's objects, open descriptors."""

from __future__ import annotations

import gc
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

WARM = 0.25
"""Share of the readings at the beginning that do not count: buffers grow to what they need."""

NOISE_MB = 0.5
"""What resident memory goes up and down by itself; a short run says nothing of less."""


@dataclass(kw_only=True)
class Watch:
    """Readings of this process.

    bar  most MB an hour that its memory may grow by
    """

    bar: float = 2.0
    seconds: list[float] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)
    blocks: list[int] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)

    def look(self) -> None:
        """Take a reading."""
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.seconds.append(time.monotonic())
        self.megabytes.append(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)
        self.blocks.append(sys.getallocatedblocks())
        self.descriptors.append(len(os.listdir("/proc/self/fd")))

    def slope(self) -> float:
        """MB an hour, a straight line through the readings after the first quarter."""
        seconds, megabytes = self._warm(self.seconds), self._warm(self.megabytes)
        return float(np.polyfit(seconds - seconds[0], megabytes, 1)[0]) * 3600

    def grown(self) -> float:
        """MB that the line rises from the first of them to the last."""
        seconds = self._warm(self.seconds)
        return self.slope() / 3600 * float(seconds[-1] - seconds[0])

    def new_blocks(self) -> int:
        """Objects of Python that there are more in the end."""
        return int(self._warm(self.blocks)[-1] - self._warm(self.blocks)[0])

    def wrong(self) -> list[str]:
        """What is over the bar, a line each; growth within the noise is none."""
        found = []
        if self.slope() > self.bar and self.grown() > NOISE_MB:
            found.append(f"memory grows by {self.slope():.1f} MB an hour, {self.grown():.2f} here")
        if len(set(self._warm(self.descriptors).tolist())) > 1:
            found.append(f"descriptors change: {sorted(set(self.descriptors))}")
        return found

    def line(self) -> str:
        """The end of it in words."""
        return (
            f"{self.seconds[-1] - self.seconds[0]:.0f} s, {len(self.seconds)} readings: "
            f"{self.megabytes[-1]:.1f} MB, slope {self.slope():+.2f} MB an hour "
            f"({self.grown():+.3f} MB), {self.new_blocks():+d} objects, "
            f"{self.descriptors[-1]} descriptors; {'; '.join(self.wrong()) or 'within the bar'}"
        )

    @staticmethod
    def _warm(values: list[int] | list[float]) -> np.ndarray:
        return np.asarray(values[int(len(values) * WARM) :])
