"""Numbers stay sound: bf16 beside fp32 in every kind of stage, and RWKV-7 at its limits.

    python -m tests.campaign.numbers [--steps 200] [--tokens 100000]

Prints a row each; the exit code is 1 where a bound is broken.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from itertools import product
from pathlib import Path

import torch
from tests.campaign.inputs import BATCH, WINDOW, recipe, recipes, write_inputs
from torch import Tensor

from asnn_goose.model.mixers.rwkv7.mixer import DECAY_RATE
from asnn_goose.ops.wkv7 import wkv7
from asnn_goose.recipe import build_run
from asnn_goose.recipe.load import check_recipe
from asnn_goose.train.loop import run
from asnn_goose.train.progress import StepInfo

KINDS = tuple(name for name, stages in recipes().items() if name == stages[0]["kind"])
BF16_BOUND = 0.05
"""Mean difference of the losses in bf16 and fp32, over the mean loss."""
STATE_BOUND = 1e-4
"""Largest error of an fp32 output or state, over the largest value there."""
LIMITS = tuple(product((0.0, -DECAY_RATE), (0.0, 1.0)))
"""log w and a at their ends: nothing is forgotten or as much as can be, nothing removed or all."""


class _Losses:
    def __init__(self) -> None:
        self.of_steps: list[float] = []

    def on_step(self, info: StepInfo) -> None:
        self.of_steps.append(info.loss)

    def on_message(self, text: str) -> None:
        pass


def losses(kind: str, folder: Path, *, steps: int, precision: str) -> Tensor:
    """Of a stage of that kind, in fp64 (S,)."""
    stage = recipes()[kind][0] | {"tokens": steps * WINDOW * BATCH}
    raw = recipe(folder, kind, [stage])
    raw["train"] |= {"precision": precision, "checkpoint_minutes": 60.0}
    watcher = _Losses()
    plan = build_run(check_recipe(raw, source=kind), tell=watcher.on_message)
    with tempfile.TemporaryDirectory() as out:
        run(plan, out=Path(out) / "run", resume=False, progress=watcher)
    return torch.tensor(watcher.of_steps, dtype=torch.float64)


def bf16_gap(kind: str, folder: Path, *, steps: int) -> float:
    """Mean difference of a stage's losses in bf16 and fp32, over the mean loss."""
    full, half = (losses(kind, folder, steps=steps, precision=p) for p in ("fp32", "bf16"))
    return float((full - half).abs().mean() / full.abs().mean())


def state_error(log_w: float, a: float, *, tokens: int, piece: int = 1000) -> float:
    """Largest relative error of fp32 against fp64 over so many tokens at these limits.

    Keys and values are drawn; the state goes on from piece to piece, as it does over a long text.
    """
    torch.manual_seed(0)
    states: list[Tensor | None] = [None, None]
    worst = 0.0
    for start in range(0, tokens, piece):
        T = min(piece, tokens - start)
        r, k, v = torch.randn(3, 1, T, 1, 16, dtype=torch.float64)
        kappa = torch.nn.functional.normalize(k, dim=-1)
        inputs = (r, torch.full_like(r, log_w), kappa, v, -kappa, a * kappa)
        found = []
        for number, dtype in enumerate((torch.float32, torch.float64)):
            y, states[number] = wkv7(*(x.to(dtype) for x in inputs), states[number])
            found.append((y, states[number]))
        worst = max(worst, *(_error(*pair) for pair in zip(*found, strict=True)))
    return worst


def _error(found: Tensor | None, wanted: Tensor | None) -> float:
    assert found is not None
    assert wanted is not None
    error = (found.double() - wanted).abs().max() / wanted.abs().max()
    return float(error) if bool(found.isfinite().all()) else float("inf")


def main() -> int:
    """Print all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--tokens", type=int, default=100_000)
    asked = parser.parse_args()
    sound = True
    for log_w, a in LIMITS:
        error = state_error(log_w, a, tokens=asked.tokens)
        sound &= error <= STATE_BOUND
        print(f"log w {log_w:7.4f}, a {a:.0f}: error {error:.1e} of {STATE_BOUND:.0e}", flush=True)
    with tempfile.TemporaryDirectory() as place:
        os.environ["ASNN_GOOSE_CACHE"] = f"{place}/cache"
        write_inputs(Path(place))
        for kind in KINDS:
            gap = bf16_gap(kind, Path(place), steps=asked.steps)
            sound &= gap <= BF16_BOUND
            print(f"{kind:18} bf16 {gap:.2%} from fp32, of {BF16_BOUND:.0%}", flush=True)
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
