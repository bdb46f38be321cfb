"""When a stage ends before its budget: once nothing gets better any more."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from asnn_goose.train.validation import Validation

YARDSTICK = "ce+kl"
"""What a held-out loss is; a checkpoint from before has none, and measured by the objective."""


@dataclass(frozen=True, kw_only=True)
class EndSettings:
    """How the end of a stage is found; its steps remain the upper bound.

    by          "plateau": the smoothed training loss; "validation": CE and KL on held-out windows
    every       steps between two looks
    patience    looks in a row without a new best that end the stage
    min_delta   how far below the best a value must be to count as better
    smoothing   share of the past in the mean of the training loss
    validation  the held-out windows, for "validation"
    """

    by: str
    every: int = 50
    patience: int = 3
    min_delta: float = 0.0
    smoothing: float = 0.98
    validation: Validation | None = None


class Ending:
    """Follows a loss over the steps of one stage."""

    def __init__(self, settings: EndSettings) -> None:
        self.settings = settings
        self.best = math.inf
        self.waited = 0
        self._sum = self._weight = 0.0

    def see(self, loss: float) -> None:
        """Take the training loss of a step into the mean."""
        kept = self.settings.smoothing
        # Sum and weight decay together: their quotient is a mean from the first step on, without a
        # start value that would have to wear off.
        self._sum = kept * self._sum + (1 - kept) * loss
        self._weight = kept * self._weight + (1 - kept)

    @property
    def smoothed(self) -> float:
        """Mean of the training loss, the last steps counting most."""
        return self._sum / self._weight

    def due(self, step: int) -> bool:
        """Whether to look after a step, counted from 1."""
        return step % self.settings.every == 0

    def look(self, value: float) -> bool:
        """Compare with the best so far; True where the stage ends here."""
        # NaN is not below anything, and so counts as no improvement.
        if value < self.best - self.settings.min_delta:
            self.best, self.waited = value, 0
        else:
            self.waited += 1
        return self.waited >= self.settings.patience

    def state(self) -> dict[str, Any]:
        """Values that JSON can hold."""
        # JSON has no infinity.
        best = self.best if math.isfinite(self.best) else None
        kept = {"best": best, "waited": self.waited, "sum": self._sum, "weight": self._weight}
        return kept | {"yardstick": YARDSTICK}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Put back what `state` gave."""
        self.best = math.inf if state["best"] is None else state["best"]
        self.waited = state["waited"]
        if self.settings.by == "validation" and state.get("yardstick") != YARDSTICK:
            # That best was measured otherwise: compared with it, any value now would be wrong.
            self.best, self.waited = math.inf, 0
        self._sum, self._weight = state["sum"], state["weight"]
