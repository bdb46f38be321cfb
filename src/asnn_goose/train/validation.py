"""A stage's objective on held-out windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from asnn_goose.trace import Batch


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

    @torch.no_grad()
    def loss(self, stage: nn.Module, accelerator: Accelerator, *, progress: float) -> float:
        """Mean of the summed terms, without dropout; the loader stays where it is."""
        begin = self.loader.state()
        stage.eval()
        total = torch.zeros((), device=accelerator.device)
        for _ in range(self.batches):
            batch = self.loader.next(progress).to(accelerator.device)
            terms: dict[str, Tensor] = stage(batch)
            total += torch.stack(list(terms.values())).sum()
        stage.train()
        self.loader.restore(begin)
        return float(accelerator.reduce(total / self.batches, "mean"))
