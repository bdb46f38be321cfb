"""Matrix products of training on an AMD processor: MKL's own choice of kernels, and ours.

    python bench/mkl_kernels.py [--rounds 5]

Every measurement is a process of its own, since MKL chooses once; the two take turns on one thread,
and a round's ratio is of CPU seconds, which a busy machine changes least. The medians are printed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from asnn_goose import mkl

SHAPES = ((512, 576, 576), (512, 576, 1536), (512, 1536, 576), (256, 576, 49152))
"""Tokens, inputs, outputs: SmolLM2's projections, both sides of its MLP, its head."""


def main() -> None:
    """Time both sides in turns and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--measure", action="store_true", help="one measurement, in this process")
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(speeds()))
        return
    sides = {"as MKL chooses": "as_is", "fast": ""}
    found: dict[str, list[list[float]]] = {side: [] for side in sides}
    for _ in range(options.rounds):
        for side, value in sides.items():
            found[side].append(in_own_process(value))
    for place, shape in enumerate(SHAPES):
        own, ours = ([run[place] for run in found[side]] for side in sides)
        gain = statistics.median(b / a for a, b in zip(own, ours, strict=True))
        medians = statistics.median(own), statistics.median(ours)
        print(f"{shape}: {medians[0]:.0f} -> {medians[1]:.0f} Gflop/s, {gain:.2f}x")


def in_own_process(setting: str) -> list[float]:
    """Gflop/s of every shape in a process with a setting."""
    command = [sys.executable, str(Path(__file__)), "--measure"]
    environment = os.environ | {mkl.SETTING: setting, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    return [float(speed) for speed in json.loads(done.stdout)]


def speeds() -> list[float]:
    """Gflop/s of x Wᵀ for every shape, the best of three times about a second."""
    mkl.use_fast_kernels()
    import torch

    torch.set_num_threads(1)
    return [max(speed(*shape) for _ in range(3)) for shape in SHAPES]


def speed(tokens: int, inputs: int, outputs: int) -> float:
    """Gflop/s of one product, warm."""
    import torch

    x_TI, weight_OI = torch.randn(tokens, inputs), torch.randn(outputs, inputs)
    flops = 2 * tokens * inputs * outputs
    times = max(1, int(2e10 / flops))
    x_TI @ weight_OI.t()
    start = time.process_time()
    for _ in range(times):
        x_TI @ weight_OI.t()
    return times * flops / (time.process_time() - start) / 1e9


if __name__ == "__main__":
    main()
