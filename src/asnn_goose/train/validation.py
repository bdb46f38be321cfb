"""A stage's student on held-out windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from accelerate import Accelerator

from asnn_goose.trace import Batch
from asnn_goose.train.stages import Stage
from asnn_goose.train.yardstick import per_token


class Rewindable(Protocol):
    """A source of batches that can be sent back."""

    def next(self, progress: float) -> Batch:
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
        """Cross-entropy and, where the stage has a teacher of its words, KL, at temperature 1.

        Means over the counting tokens of all processes; the loader stays where it is.
        """
        begin, taught = self.loader.state(), stage.taught_by_words
        stage.eval()
        sums_3 = torch.zeros(3, device=accelerator.device, dtype=torch.float64)
        for _ in range(self.batches):
            batch = self.loader.next(0.0).to(accelerator.device)
            loss_BT, kl_BT = per_token(stage, batch, teacher=taught)
            sums_3 += torch.stack([loss_BT.sum(), kl_BT.sum(), batch.mask_BT.sum()])
        stage.train()
        self.loader.restore(begin)
        loss, kl, count = accelerator.reduce(sums_3, "sum").tolist()
        found = {"ce": loss / max(1.0, count)}
        return found | ({"kl": kl / max(1.0, count)} if taught else {})
