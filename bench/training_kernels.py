"""Compiled kernels of training against PyTorch's operations for the same, forward and backward.

    python bench/training_kernels.py [--tokens 512] [--rounds 9]

Shapes are SmolLM2-135M's, one thread. Both sides take turns in one process; what counts is the
processor's time.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from unittest import mock

sys.path.pop(0)  # this folder, whose kernels.py others would take for a package of that name
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from bench.training_speed import set_up_as_commands_do

Parts = dict[str, tuple[ModuleType, Callable[[], None]]]
"""By name: where the choice between both sides is made, and the work."""


def parts(tokens: int) -> Parts:
    """Norm, positions, keys and gate of a block."""
    import torch
    from torch import Tensor

    from asnn_goose.ops import delta_keys, rms_norm, rotary, silu_gate

    def leaf(*shape: int) -> Tensor:
        return torch.rand(*shape, requires_grad=True)

    k, a, removal, replacement = (leaf(*s) for s in ((1, tokens, 9, 64),) * 2 + ((9, 64),) * 2)
    x, weight, gate, up = leaf(tokens, 576), leaf(576), leaf(tokens, 1536), leaf(tokens, 1536)
    position_BT = torch.arange(tokens)[None]

    def keys() -> None:
        made = delta_keys.delta_keys(k, a, removal, replacement, least=1e-12)
        outputs = [made.alpha, made.beta, made.written]
        torch.autograd.backward(outputs, [torch.ones_like(k)] * 3)

    def back(y: Tensor) -> None:
        y.backward(torch.ones_like(y))

    return {
        "RMSNorm": (rms_norm, lambda: back(rms_norm.rms_norm(x, weight, eps=1e-5))),
        "positions": (rotary, lambda: back(rotary.rotate(k, position_BT, theta=1e4))),
        "keys": (delta_keys, keys),
        "gate": (silu_gate, lambda: back(silu_gate.silu_gate(gate, up))),
    }


def seconds(work: Callable[[], None]) -> float:
    """Processor time of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    set_up_as_commands_do()
    import torch

    from asnn_goose.ops.allocator import keep_freed_memory

    torch.set_num_threads(1)
    keep_freed_memory()
    for name, (module, work) in parts(options.tokens).items():
        turns = []
        for _ in range(options.rounds + 1):
            with mock.patch.object(module, "fits", return_value=False):
                plain = seconds(work)
            turns.append((plain, seconds(work)))
        plain, compiled = (1e3 * statistics.median(side) for side in zip(*turns[1:], strict=True))
        ratio = statistics.median(p / c for p, c in turns[1:])
        print(f"{name:10} PyTorch {plain:6.2f} ms, compiled {compiled:6.2f} ms, {ratio:.2f} times")


if __name__ == "__main__":
    main()
