"""Distillation: the student runs on its own and is held against the teacher on the same tokens."""

from __future__ import annotations

from typing import ClassVar

from asnn_goose.trace import PLACES
from asnn_goose.train.stages.stage import Stage


class Distill(Stage):
    """Both models read the batch; the objective multiplies the heads in chunks of tokens.

    Where no loss looks at the teacher, the teacher does not run.
    """

    gives: ClassVar = PLACES
    trains: ClassVar = frozenset({"mixers", "blocks", "body", "all"})
    ranks: ClassVar = True
