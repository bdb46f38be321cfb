"""Learning rate over the steps of a stage, as a function of the step number alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass


def _cosine(done: float) -> float:
    return 0.5 * (1.0 + math.cos(math.pi * done))


def _constant(done: float) -> float:
    return 1.0


SHAPES: dict[str, Callable[[float], float]] = {"cosine": _cosine, "constant": _constant}
"""Shapes after the warm-up: share of the stage that is done (0 to 1) -> 1 (peak) to 0 (floor)."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Linear warm-up, then a shape that falls from 1 towards `floor`.

    shape    a row of SHAPES
    steps    optimiser steps in the stage
    warmup   steps until the peak; the first step already moves
    floor    share of the peak rate that the shape ends at
    """

    shape: str
    steps: int
    warmup: int = 0
    floor: float = 0.0

    def factor(self, step: int) -> float:
        """Share of the peak rate at `step`, counted from 0."""
        if step < self.warmup:
            # From 1 and not 0: a first step at rate 0 would be a batch thrown away.
            return (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.floor + (1.0 - self.floor) * SHAPES[self.shape](done)
