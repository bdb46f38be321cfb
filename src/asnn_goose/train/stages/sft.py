"""Supervised fine-tuning: the student learns answers, and only answers, of examples."""

from __future__ import annotations

from typing import ClassVar

from asnn_goose.trace import PLACES
from asnn_goose.train.stages.stage import Stage


class Sft(Stage):
    """Distillation whose labels are answers: prompts are read and count in no loss.

    With `ce` alone it is ARWKV's stage 3 (arXiv 2501.15570); a loss on the teacher makes the
    student follow it in its answers. Examples that share a row do not see each other.
    """

    gives: ClassVar = PLACES
    trains: ClassVar = frozenset({"mixers", "blocks", "body", "all"})
    reads: ClassVar = "examples"
