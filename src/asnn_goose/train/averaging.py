"""A stage ends with the mean of its weights over the last steps, instead of the last ones.

Izmailov et al. 2018 (arXiv 1803.05407) for the plain mean, an exponential one in long stages.
Ternary codes are those of the mean: a weight that swings around a threshold settles on one side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from asnn_goose.train.optimiser import Trained

KIND = "average"
"""Under this name the mean stands among the optimiser's moments, and so in checkpoints."""


@dataclass(frozen=True, kw_only=True)
class AverageSettings:
    """[stage.average]: the mean of the weights after every step of the last part of a stage.

    since  share of the stage after which it begins
    decay  the mean is a plain one over 1 / (1 - decay) steps and exponential from then on;
           1: a plain one over all of them
    """

    since: float = 0.5
    decay: float = 0.98

    def __post_init__(self) -> None:
        if not 0 <= self.since < 1:
            raise ValueError(f"average.since = {self.since}: must be 0 or more and below 1")
        if not 0 < self.decay <= 1:
            raise ValueError(f"average.decay = {self.decay}: must be above 0 and at most 1")

    def first(self, steps: int) -> int:
        """Number of the first step (from 0) whose weights count."""
        return min(int(self.since * steps), steps - 1)

    def share(self, count: int) -> float:
        """What the newest of `count` weights counts in the mean."""
        return max(1 / count, 1 - self.decay)


class Average:
    """The mean of trained parameters, kept in their optimiser's state once it has begun."""

    def __init__(
        self,
        settings: AverageSettings,
        trained: Sequence[Trained],
        optimiser: torch.optim.Optimizer,
    ) -> None:
        self._settings, self._trained, self._optimiser = settings, trained, optimiser

    @torch.no_grad()
    def follow(self, number: int, *, steps: int) -> None:
        """Take the weights after step `number` (from 0) of a stage of so many."""
        count = number - self._settings.first(steps) + 1
        if count < 1:
            return
        for entry in self._trained:
            state = self._optimiser.state[entry.parameter]
            if not state:  # no gradient has reached it: it stands still
                continue
            if KIND in state:
                state[KIND].lerp_(entry.parameter, self._settings.share(count))
            else:
                state[KIND] = entry.parameter.detach().clone()

    @torch.no_grad()
    def adopt(self) -> None:
        """Put the mean in the weights' place, where it has begun."""
        for entry in self._trained:
            state = self._optimiser.state[entry.parameter]
            if KIND in state:
                entry.parameter.copy_(state[KIND])
