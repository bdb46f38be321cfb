"""Speed of the three forms of wkv7, forward and forward + backward, on one and two threads.

    python bench/wkv7.py [--check]

Every repeat runs all forms one after the other, so that a busy machine slows them alike; the
figures are medians. With --check the exit status is 1 if the claim is missed: forward + backward
of the compiled kernel at least 20 times as fast as the naive loop and 3 times the chunked form.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from asnn_goose.ops import native_available, native_status
from asnn_goose.ops.wkv7 import Form, wkv7

B, T, H, N = 4, 256, 9, 64
FORMS: tuple[Form, ...] = ("recurrent", "chunked", "native")
CLAIMS: dict[Form, float] = {"recurrent": 20.0, "chunked": 3.0}


def operands() -> list[Tensor]:
    """The six sequences and the state, distributed as in a model."""
    torch.manual_seed(0)
    r, k, v, decay, kappa, rate = (torch.randn(B, T, H, N) for _ in range(6))
    kappa = F.normalize(kappa, dim=-1)
    inputs = [r, -0.6065 * decay.sigmoid(), k, v, -kappa, kappa * rate.sigmoid()]
    return [x.requires_grad_() for x in (*inputs, torch.randn(B, H, N, N))]


def forward(form: Form, inputs: list[Tensor]) -> None:
    """One pass without gradients."""
    with torch.no_grad():
        wkv7(*inputs, form=form)


def forward_backward(form: Form, inputs: list[Tensor]) -> None:
    """One pass and the gradients of everything."""
    y, final = wkv7(*inputs, form=form)
    torch.autograd.grad((y, final), inputs, (torch.ones_like(y), torch.ones_like(final)))


def milliseconds(run: Callable[[Form, list[Tensor]], None], repeats: int) -> dict[Form, float]:
    """Median wall time of each form; the first round warms up and does not count."""
    inputs = operands()
    times: dict[Form, list[float]] = {form: [] for form in FORMS}
    for _ in range(repeats + 1):
        for form in FORMS:
            start = time.perf_counter()
            run(form, inputs)
            times[form].append((time.perf_counter() - start) * 1e3)
    return {form: statistics.median(samples[1:]) for form, samples in times.items()}


def main() -> int:
    """Print the table; 1 if a claim was to be checked and is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="fail if the claim is missed")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    if not native_available():
        print(f"compiled kernel: {native_status()}", file=sys.stderr)
        return 1
    print(f"B={B} T={T} H={H} N={N}, fp32, compiled kernel {native_status()}")
    print(f"{'threads':>7} {'pass':>16} {'naive':>9} {'chunked':>9} {'native':>9}   (ms)   ratios")
    missed = False
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for run in (forward, forward_backward):
            ms = milliseconds(run, options.repeats)
            naive, chunked = (ms[form] / ms["native"] for form in CLAIMS)
            row = " ".join(f"{ms[form]:9.1f}" for form in FORMS)
            ratios = f"{naive:.1f}x naive, {chunked:.1f}x chunked"
            print(f"{threads:>7} {run.__name__:>16} {row}   {ratios}")
            if run is forward_backward:
                missed |= naive < CLAIMS["recurrent"] or chunked < CLAIMS["chunked"]
    if options.check and missed:
        print("missed: forward + backward 20x naive and 3x chunked", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
