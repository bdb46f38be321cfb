"""Pretraining: a model learns from text alone, from whatever start it has."""

from __future__ import annotations

from typing import ClassVar

from asnn_goose.losses import Objective
from asnn_goose.train.stages.stage import Stage


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
