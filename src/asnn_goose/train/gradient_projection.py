"""Takes out of distillation's gradient what works against the task's: DHKD's gradient alignment.

Yang et al. 2024, arXiv 2411.08937. Where g_rest . g_task < 0,

    g_rest <- g_rest - (g_rest . g_task / |g_task|^2) g_task

with one product over all parameters that both sides train, so that what is left of g_rest is at
right angles to g_task. Where the sides do not conflict, the step is that of their plain sum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from asnn_goose.train.gradient_rule import GradientRule, RuleSettings
from asnn_goose.train.gradients import Gradients, added, check_sides, sides
from asnn_goose.train.optimiser import LOSS_GROUP, AdamSettings, Trained, adamw


@final
@dataclass(frozen=True, kw_only=True)
class ProjectSettings(RuleSettings):
    """[stage.project]: what works against the task is projected out.

    task  names of the task's terms, every other term is projected
    """

    name: ClassVar[str] = "project"
    extra_passes: ClassVar[int] = 2  # one for each side
    copies: ClassVar[int] = 4  # one side more than .grad and AdamW's two moments
    moments: ClassVar[int] = 2

    task: tuple[str, ...] = ("ce",)

    def check(self, terms: Sequence[str]) -> None:
        """Raise ValueError where the terms do not make two sides."""
        check_sides(terms, self.task, key=self.name)

    def start(self, trained: Sequence[Trained], adam: AdamSettings) -> GradientRule:
        return GradientProjection(trained, adamw(trained, adam), task=self.task)


@final
class GradientProjection(GradientRule):
    """Adds up the two sides of an optimiser step, then joins them in .grad.

    It projects after the sum over micro-batches: the step follows that sum, and in it a conflict
    of single micro-batches may be gone. Nothing is remembered from step to step.

    Shared are the student's parameters that both sides reach. What one side alone reaches, a head
    of its own or the head that only cross-entropy looks at, keeps its gradient and has no part in
    the product. (The authors' code counts it in |g_task|, and so leaves some of the conflict.)

    cosine  of the two sides, over what they share, before the last projection
    """

    def __init__(
        self,
        trained: Sequence[Trained],
        optimiser: torch.optim.Optimizer,
        *,
        task: Sequence[str],
    ) -> None:
        self._trained, self._names = trained, task
        self.optimiser = optimiser
        self.cosine = 0.0
        self._forget()

    def begin(self, step: int) -> None:
        super().begin(step)
        self._forget()

    def passes(self, terms: Sequence[str]) -> Mapping[str, Sequence[str]]:
        return sides(terms, self._names)

    def take(self, terms: Sequence[str], part: Gradients, *, scale: float) -> None:
        side = self._task if terms[0] in self._names else self._rest
        for number, gradient in enumerate(part):
            if gradient is not None:
                side[number] = added(side[number], gradient * scale)

    def join(self) -> None:
        """Set .grad to the task's gradient and the projected rest, and forget the sides."""
        share = self._conflict()
        for entry, task, rest in zip(self._trained, self._task, self._rest, strict=True):
            if task is not None and rest is not None:
                # task + (rest - share task)
                rest.add_(task, alpha=1.0 if entry.group == LOSS_GROUP else 1.0 - share)
            entry.parameter.grad = task if rest is None else rest
        self._forget()

    def readings(self) -> dict[str, float]:
        """How well the two sides agreed."""
        return {"project.cosine": self.cosine}

    def _conflict(self) -> float:
        """g_rest . g_task / |g_task|^2 where it is below 0, else 0."""
        products = [
            _products(task, rest)
            for entry, task, rest in zip(self._trained, self._task, self._rest, strict=True)
            if task is not None and rest is not None and entry.group != LOSS_GROUP
        ]
        # Summed in fp64 and fetched once: the sign of the first decides, and it is a difference of
        # large numbers.
        across, of_task, of_rest = torch.stack(products).sum(0).tolist() if products else (0, 0, 0)
        size = (of_task * of_rest) ** 0.5
        self.cosine = across / size if size else 0.0
        return across / of_task if across < 0 < of_task else 0.0

    def _forget(self) -> None:
        self._task: Gradients = [None] * len(self._trained)
        self._rest: Gradients = [None] * len(self._trained)


def _products(task: Tensor, rest: Tensor) -> Tensor:
    """Inner products rest . task, task . task and rest . rest (3,), summed on in fp64."""
    pairs = ((rest, task), (task, task), (rest, rest))
    found = [torch.dot(a.flatten().float(), b.flatten().float()) for a, b in pairs]
    return torch.stack(found).double()
