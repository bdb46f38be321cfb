"""What modules count over batches is counted by all processes, and moves them between two steps.

So N processes go on from what one would have counted on the same batches; and a batch that
activation checkpointing runs again finds the numbers that it found the first time.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from accelerate import Accelerator
from torch import Tensor, nn


@runtime_checkable
class Counting(Protocol):
    """A module that counts something of every training batch, and goes on from the counts."""

    def take_counts(self) -> Tensor:
        """What the batch before has shown (n,), such that it can be added up; then nothing."""

    def go_on(self, counts_n: Tensor) -> None:
        """Go on from the counts of a step, added up."""


class StepCounts:
    """The counts of a step, of all modules of a stage that count."""

    def __init__(self, stage: nn.Module, accelerator: Accelerator) -> None:
        self._modules = [module for module in stage.modules() if isinstance(module, Counting)]
        self._accelerator = accelerator
        self._sums: list[Tensor] = []

    def forget(self) -> None:
        """Count the batch before not at all."""
        for module in self._modules:
            module.take_counts()

    def add(self) -> None:
        """Count the batch before."""
        found = [module.take_counts() for module in self._modules]
        sums = self._sums or [torch.zeros_like(counts_n) for counts_n in found]
        self._sums = [a + b for a, b in zip(sums, found, strict=True)]

    def settle(self) -> None:
        """Let every module go on from the sums over all processes."""
        if not self._modules:
            return
        # One exchange for all of them.
        total_n = self._accelerator.reduce(torch.cat(self._sums), "sum")
        parts = total_n.split([len(counts_n) for counts_n in self._sums])
        for module, counts_n in zip(self._modules, parts, strict=True):
            module.go_on(counts_n)
        self._sums = []
