"""What one core of this machine can do at most: vector logic, and reading memory.

python bench/ceiling.py
"""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.peers.compiled import compiled
from bench.peers.peer import NotRunError

SOURCE = Path(__file__).with_name("ceiling.c")
REPEATS = 9
ROUNDS = 100_000
PER_ROUND = 12
OPERATIONS = {64: 4, 32: 8, 16: 8}
"""Logic operations that add one column of bits, by bytes of a vector.

AVX-512 has them with three inputs.
"""


@dataclass(frozen=True)
class Ceiling:
    """The best of some repeats, so that a disturbance does not lower the ceiling."""

    library: ctypes.CDLL

    @cached_property
    def vector_bytes(self) -> int:
        """Width of a vector."""
        return int(self.library.vector_bytes())

    @cached_property
    def logic(self) -> float:
        """Vector operations per second."""
        out = ctypes.c_uint64()
        seconds = best(lambda: self.library.logic(ctypes.c_int64(ROUNDS), ctypes.byref(out)))
        return PER_ROUND * ROUNDS / seconds

    @cached_property
    def weight_bits(self) -> float:
        """Weights per second that spikes can add, were everything in registers."""
        return self.logic * 8 * self.vector_bytes / OPERATIONS[self.vector_bytes]

    def reading(self, size: int) -> float:
        """Bytes per second of reading a buffer of `size` bytes again and again."""
        size = -(-size // 4096) * 4096
        buffer = np.ones(size + 64, np.uint8)
        start, out = -(-buffer.ctypes.data // 64) * 64, ctypes.c_uint64()
        times = max(1, (16 << 20) // size)

        def work() -> None:
            self.library.read_all(
                ctypes.c_void_p(start),
                ctypes.c_int64(size),
                ctypes.c_int64(times),
                ctypes.byref(out),
            )

        return times * size / best(work)


def best(work: Callable[[], object]) -> float:
    """Shortest time of some calls, in seconds of the thread itself."""
    times = []
    for _ in range(REPEATS):
        started = time.thread_time()
        work()
        times.append(time.thread_time() - started)
    return min(times)


def measure() -> Ceiling:
    """The ceiling of this machine. Raises NotRunError without a C compiler."""
    return Ceiling(compiled(SOURCE))


def main() -> None:
    """Print what was measured."""
    try:
        ceiling = measure()
    except NotRunError as reason:
        print(f"not run: {reason}")
        return
    print(f"logic: {ceiling.logic / 1e9:.1f} G vectors of {ceiling.vector_bytes} bytes/s")
    print(f"event-driven products at density 1: {ceiling.weight_bits / 1e9:.0f} GMAC/s")
    for kilobytes in (16, 256, 4096, 16384, 65536, 262144):
        print(f"reading {kilobytes:>7} KiB: {ceiling.reading(kilobytes << 10) / 1e9:6.1f} GB/s")


if __name__ == "__main__":
    main()
