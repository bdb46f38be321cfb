"""What keeping freed memory buys: element-wise operations on logits, with and without.

    python bench/allocator.py

Each side runs in a process of its own, since the setting cannot be taken back.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

import torch

from asnn_goose.ops.allocator import keep_freed_memory

SHAPE = (512, 49152)
WARM_UP, REPEATS = 12, 9


def milliseconds() -> float:
    """Median time of one log-softmax over a chunk of logits, once the heap has settled."""
    logits = torch.randn(SHAPE)
    times = []
    for _ in range(WARM_UP + REPEATS):
        start = time.perf_counter()
        logits.log_softmax(-1)
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times[WARM_UP:])


def main() -> None:
    """Time both sides and print the ratio."""
    if len(sys.argv) > 1:
        if sys.argv[1] == "keep":
            keep_freed_memory()
        print(milliseconds())
        return
    fresh, kept = (_in_own_process(side) for side in ("fresh", "keep"))
    print(f"log-softmax of {SHAPE}: fresh pages {fresh:.1f} ms, kept {kept:.1f} ms")
    print(f"ratio {fresh / kept:.1f}")


def _in_own_process(side: str) -> float:
    command = [sys.executable, __file__, side]
    return float(subprocess.run(command, capture_output=True, check=True).stdout)


if __name__ == "__main__":
    main()
