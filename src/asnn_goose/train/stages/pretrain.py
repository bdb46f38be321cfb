"""Pretraining: a model learns from text alone, from whatever start it has."""

from __future__ import annotations

from typing import ClassVar, cast

from torch import Tensor

from asnn_goose.losses import Objective
from asnn_goose.trace import Batch, Trace
from asnn_goose.train.stages.stage import Stage, Tracing


class Pretrain(Stage):
    """No teacher runs. A new Goose starts as published (RWKV-7, arXiv 2503.14456).

    Raises ValueError where a loss looks at a teacher.
    """

    gives: ClassVar = frozenset({"vocab"})
    gives_signals: ClassVar = False
    trains: ClassVar = frozenset({"all"})
    taught: ClassVar = False

    @classmethod
    def check(cls, objective: Objective) -> None:
        """Raise ValueError where the objective needs a teacher, or more than logits."""
        super().check(objective)
        if objective.teacher_needs:
            raise ValueError(
                f"pretrain has no teacher, and {', '.join(objective.losses)} needs one: use losses"
                " on the text, such as ce"
            )

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Weighted loss terms by name."""
        self.anneal(batch)
        student = cast(Tracing, self.student).trace(
            batch.tokens_BT, self.objective.needs, window=self.window(batch)
        )
        # An empty Trace stands for the teacher: `check` has refused every loss that would look into
        # it.
        terms: dict[str, Tensor] = self.objective(student, Trace(), batch)
        return terms
