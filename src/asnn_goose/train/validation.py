"""A stage's student on held-out windows, examples or pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor

from asnn_goose.train.stages import Stage
from asnn_goose.train.yardstick import LOSSES, sums


class Rewindable(Protocol):
    """A source of batches that can be sent back."""

    def next(self, progress: float) -> Any:
        """The next micro-batch."""

    def state(self) -> dict[str, int]:
        """Position in the data."""

    def restore(self, state: dict[str, int]) -> None:
        """Go to a position that `state` gave."""


@dataclass(frozen=True, kw_only=True)
class Validation:
    """The same `batches` batches of a loader on every call, each process its own."""

    loader: Rewindable
    batches: int

    def measure(self, stage: Stage, accelerator: Accelerator) -> dict[str, float]:
        """Means of what yardstick.sums gives, over all processes; the loader stays where it is."""
        begin, totals = self.loader.state(), dict[str, Tensor]()
        stage.eval()
        for _ in range(self.batches):
            batch = self.loader.next(0.0).to(accelerator.device)
            for name, sum_2 in sums(stage, batch).items():
                totals[name] = totals.get(name, torch.zeros_like(sum_2)) + sum_2
        stage.train()
        # Sent back: every call sees the same windows, so that differences are the student's.
        self.loader.restore(begin)
        reduced = {name: accelerator.reduce(sum_2, "sum") for name, sum_2 in totals.items()}
        return {name: float(total / count.clamp_min(1)) for name, (total, count) in reduced.items()}


def held_out(measured: Mapping[str, float]) -> float:
    """The held-out loss among what was measured."""
    return sum(value for name, value in measured.items() if name in LOSSES)
