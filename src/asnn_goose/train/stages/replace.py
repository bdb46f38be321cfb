"""Attentions are replaced by mixers a few at a time, from word to word.

BERT-of-Theseus (Xu et al. 2020, arXiv 2002.02925): each step every module of the teacher is
replaced by its successor with a probability that grows, and only the successors learn. In `align`
no mixer knows what its errors do behind it; in `distill` each hears of it through the errors of all
the others, in which the heads that copy from far are never found. Here what lies around is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from asnn_goose.model.goose.causal_lm import GooseForCausalLM
from asnn_goose.model.graft import graft_trace
from asnn_goose.model.teacher import Teacher
from asnn_goose.trace import PLACES, Batch
from asnn_goose.train.stages.stage import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacing:
    """Of `layers` (all where it names none) each is replaced with a probability, at start and end.

    In a pass that replaces none by chance one is.
    """

    share: tuple[float, float] = (0.1, 1.0)
    layers: Sequence[int] = ()


class Replace(Stage):
    """The teacher with mixers of the student in it is held against the teacher.

    The student's own MLPs, norms and words take no part: those of a converted student are the
    teacher's. Raises ValueError for a teacher that has no attentions here, such as a cached one.
    """

    gives: ClassVar = PLACES
    gives_signals: ClassVar = False
    trains: ClassVar = frozenset({"mixers"})

    def __init__(self, *, replacing: Replacing, **parts: Any) -> None:
        super().__init__(**parts)
        if not isinstance(self.teacher, Teacher):
            raise ValueError(
                f"replace puts mixers into its teacher, and {type(self.teacher).__name__} is no "
                "live transformer with the student's words: name one such teacher, uncached"
            )
        self.replacing = replacing

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        self.anneal(batch)
        teacher, student = cast(Teacher, self.teacher), cast(GooseForCausalLM, self.student)
        window, layers = self.window(batch), self.drawn(batch.progress)
        trace = graft_trace(
            teacher, student, layers, batch.tokens_BT, self.objective.needs, window=window
        )
        return self.terms(trace, self.heard(batch), batch)

    def drawn(self, progress: float) -> frozenset[int]:
        """The blocks that are replaced in a pass, after a share of the stage; by torch's chance."""
        blocks = len(cast(GooseForCausalLM, self.student).blocks)
        among = torch.tensor(self.replacing.layers or range(blocks))
        first, last = self.replacing.share
        chosen = torch.rand(len(among)) < first + (last - first) * progress
        if not chosen.any():
            chosen[torch.randint(len(among), ())] = True
        return frozenset(among[chosen].tolist())
