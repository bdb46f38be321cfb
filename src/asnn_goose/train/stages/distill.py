"""Distillation: the student runs on its own and is held against the teacher on the same tokens."""

from __future__ import annotations

from typing import ClassVar, cast

from torch import Tensor

from asnn_goose.trace import PLACES, Batch, Trace
from asnn_goose.train.stages.stage import Stage, Tracing


class Distill(Stage):
    """Both models read the batch; the objective multiplies the heads in chunks of tokens.

    Where no loss looks at the teacher, the teacher does not run.
    """

    gives: ClassVar = PLACES
    trains: ClassVar = frozenset({"mixers", "blocks", "body", "all"})

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Weighted loss terms by name."""
        self.anneal(batch)
        tokens_BT, needs, window = batch.tokens_BT, self.asked, self.window(batch)
        teacher = self.teacher.trace(tokens_BT, needs, window=window) if needs else Trace()
        student = cast(Tracing, self.student).trace(tokens_BT, self.objective.needs, window=window)
        terms: dict[str, Tensor] = self.objective(student, teacher, batch)
        return terms
