"""Speed of the compiled WKV-4 and LIF against their loops, forward + backward, on one thread.

    python bench/recurrences.py [--check]

Every repeat runs both forms one after the other, so that a busy machine slows them alike; the
figures are medians. With --check the exit status is 1 if a claim is missed: at B=4, T=256, C=576
WKV-4 at least 20 times as fast as its loop, LIF at least 30 times.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import torch

from asnn_goose.ops import native_available, native_status
from asnn_goose.ops.lif import Cell, lif
from asnn_goose.ops.surrogate import atan
from asnn_goose.ops.wkv4 import wkv4

B, T, C = 4, 256, 576
CLAIMS = {"wkv4": 20.0, "lif": 30.0}


def run_wkv4(native: bool) -> Callable[[], object]:
    """One pass and the gradients of everything."""
    torch.manual_seed(0)
    shapes = ((C,), (C,), (B, T, C), (B, T, C))
    w, u, k, v = (torch.randn(shape).requires_grad_() for shape in shapes)
    dy = torch.randn(B, T, C)

    def run() -> object:
        y, _ = wkv4(w.exp(), u, k, v, form="native" if native else "recurrent")
        return torch.autograd.grad(y, (w, u, k, v), dy)

    return run


def run_lif(native: bool) -> Callable[[], object]:
    """One pass and the gradient of the currents."""
    torch.manual_seed(0)
    h, rest = (2 * torch.randn(B, T, C)).requires_grad_(), torch.zeros(B, C)
    cell, dy = Cell(tau=2.0, threshold=1.0, signed=False), torch.randn(B, T, C)

    def run() -> object:
        spikes, _, _ = lif(h, rest, cell, atan, form="native" if native else "loop")
        return torch.autograd.grad(spikes, h, dy)

    return run


RUNS = {"wkv4": run_wkv4, "lif": run_lif}


def milliseconds(make: Callable[[bool], Callable[[], object]], repeats: int) -> tuple[float, float]:
    """Medians of loop and kernel; the first round warms up and does not count."""
    runs = [make(native) for native in (False, True)]
    times: list[list[float]] = [[], []]
    for _ in range(repeats + 1):
        for samples, run in zip(times, runs, strict=True):
            start = time.perf_counter()
            run()
            samples.append((time.perf_counter() - start) * 1e3)
    loop, native = (statistics.median(samples[1:]) for samples in times)
    return loop, native


def main() -> int:
    """Print the table; 1 if a claim was to be checked and is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="fail if a claim is missed")
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    if not native_available():
        print(f"compiled kernels: {native_status()}", file=sys.stderr)
        return 1
    torch.set_num_threads(1)
    print(f"B={B} T={T} C={C}, fp32, one thread, compiled kernels {native_status()}")
    missed = []
    for name, make in RUNS.items():
        loop, native = milliseconds(make, options.repeats)
        print(f"{name:>5}  loop {loop:8.1f} ms  native {native:7.2f} ms  {loop / native:.1f}x")
        missed += [name] if loop < CLAIMS[name] * native else []
    if options.check and missed:
        print(f"missed: {', '.join(f'{n} {CLAIMS[n]:.0f}x' for n in missed)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
