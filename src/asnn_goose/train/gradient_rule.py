"""Gradient rules: how the gradients of an objective's terms become the step of an optimiser.

A stage has one rule. The trainer asks it which passes to make, hands it what each pass gives, lets
it join that in .grad, and clips; it never asks which rule it is. A new one is a file and a row in
`train.rules.RULES`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from asnn_goose.train import optimiser
from asnn_goose.train.gradients import Gradients, accumulate
from asnn_goose.train.optimiser import AdamSettings, Trained


class GradientRule(ABC):
    """What a rule does in each step; `optimiser` is the one that takes it."""

    optimiser: torch.optim.Optimizer

    def begin(self, step: int) -> None:
        """Forget the gradients of the last step; `step` counts from 1."""
        self.optimiser.zero_grad(set_to_none=True)

    @abstractmethod
    def passes(self, terms: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """Terms that are differentiated together, by the name of their pass.

        None at all where the sum of all terms is: its gradient goes to .grad by itself, which is
        the one way that several processes can exchange it.
        """

    @abstractmethod
    def take(self, terms: Sequence[str], part: Gradients, *, scale: float) -> None:
        """Add the gradient of some terms over a micro-batch, times `scale`, to that of the step."""

    def join(self) -> None:
        """Make .grad what the step follows, where it is not, once all micro-batches were taken."""
        return

    def clipped(self, parameters: Sequence[nn.Parameter], factor: Tensor) -> None:
        """Limit what the rule keeps beside .grad, which was just multiplied by `factor`."""
        return

    def readings(self) -> dict[str, float]:
        """Numbers of the last step that are worth a line in the metrics."""
        return {}


class RuleSettings(ABC):
    """What a recipe sets of a rule, in its table [stage.NAME]: a frozen dataclass.

    name         the key of the table
    extra_passes backward passes that a step makes beside the usual one (of the estimate)
    copies       values that are held for each trained one while training, gradient included
    moments      of these, what a checkpoint keeps
    """

    name: ClassVar[str]
    extra_passes: ClassVar[int]
    copies: ClassVar[int]
    moments: ClassVar[int]

    def check(self, terms: Sequence[str]) -> None:
        """Raise ValueError where the rule can do nothing with the terms of an objective."""
        return

    def check_momentum(self, momentum: float) -> None:
        """Raise ValueError where the rule does not go with Adam's first beta."""
        return

    @abstractmethod
    def start(self, trained: Sequence[Trained], adam: AdamSettings) -> GradientRule:
        """The rule itself, for one stage."""


@final
@dataclass(frozen=True, kw_only=True)
class SumSettings(RuleSettings):
    """The rule of a stage that names none: AdamW on the gradient of the plain sum."""

    name: ClassVar[str] = "sum"
    extra_passes: ClassVar[int] = 0
    copies: ClassVar[int] = 3
    moments: ClassVar[int] = 2

    def start(self, trained: Sequence[Trained], adam: AdamSettings) -> GradientRule:
        return Summed(trained, optimiser.adamw(trained, adam))


@final
class Summed(GradientRule):
    """One pass over the sum; parts come only where somebody else wants to see them apart."""

    def __init__(self, trained: Sequence[Trained], optimiser: torch.optim.Optimizer) -> None:
        self._parameters = [entry.parameter for entry in trained]
        self.optimiser = optimiser

    def passes(self, terms: Sequence[str]) -> Mapping[str, Sequence[str]]:
        return {}

    def take(self, terms: Sequence[str], part: Gradients, *, scale: float) -> None:
        accumulate(self._parameters, part, scale=scale)
