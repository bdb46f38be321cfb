"""Alignment: every mixer learns to give what the teacher's attention gives, on its input.

RADLADS, step 1 (Goldstein et al. 2025, arXiv 2505.03005), after MOHAWK (Bick et al. 2024,
arXiv 2408.10189): the frozen teacher drives the residual stream, so that no mixer sees the errors
of another and all learn at once. No logits are computed.
"""

from __future__ import annotations

from typing import ClassVar, Protocol, cast

from torch import Tensor

from asnn_goose.trace import Batch, Trace, Window
from asnn_goose.train.stages.stage import Stage


class Driven(Protocol):
    """A student whose mixers can be run on inputs from outside."""

    def drive(self, mixer_in: tuple[Tensor, ...], *, window: Window | None = None) -> Trace:
        """Run every mixer on its own input (B,T,D)."""


class Align(Stage):
    """The teacher's mixer inputs go through the student's mixers; nothing else of it runs."""

    gives: ClassVar = frozenset({"mixer_in", "mixer_out"})
    # Needed even where no loss compares it: it is what drives the student.
    drives: ClassVar = frozenset({"mixer_in"})
    trains: ClassVar = frozenset({"mixers"})
    runs: ClassVar = "mixers"

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        self.anneal(batch)
        teacher = self.heard(batch)
        student = cast(Driven, self.student).drive(teacher.mixer_in, window=self.window(batch))
        return self.terms(student, teacher, batch)
