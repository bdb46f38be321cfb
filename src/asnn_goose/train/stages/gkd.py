"""On-policy distillation: the student draws answers, and the teacher scores them.

Agarwal et al. 2023, Generalized Knowledge Distillation, arXiv 2306.13649, algorithm 1: with
probability lambda a batch's answers are the student's own, else those of the data; the divergence
(`jsd` with its beta, or any other loss over logits) is taken over the answers' tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from asnn_goose.data.example_batches import longest, rows_of
from asnn_goose.data.examples import Example
from asnn_goose.losses import Objective
from asnn_goose.trace import Batch
from asnn_goose.train.sampling import drawn
from asnn_goose.train.stages.stage import Stage


@dataclass(frozen=True, kw_only=True)
class Samples:
    """What a student draws.

    share        lambda: of the micro-batches, whose answers are the student's own
    tokens       longest answer
    temperature  1 draws as the student does
    window       longest prompt and answer together
    ends         tokens after which an answer is over
    padding      token that fills rows up
    """

    share: float
    tokens: int
    temperature: float
    window: int
    ends: frozenset[int]
    padding: int


class Gkd(Stage):
    """`sft` on losses that look at the teacher, with answers that the student wrote itself."""

    gives: ClassVar = frozenset({"vocab"})
    gives_signals: ClassVar = False
    trains: ClassVar = frozenset({"mixers", "blocks", "body", "all"})
    reads: ClassVar = "prompts"

    def __init__(self, *, samples: Samples, **parts: Any) -> None:
        super().__init__(**parts)
        self.samples = samples
        self._lengths: list[float] = []

    @classmethod
    def check(cls, objective: Objective) -> None:
        """Raise ValueError where a loss does not look at the teacher."""
        super().check(objective)
        if not objective.teacher_needs:
            raise ValueError(
                f"gkd has a teacher score what the student wrote, and {', '.join(objective.losses)}"
                " looks at no teacher: use a loss such as jsd"
            )

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        self.anneal(batch)
        own = bool(torch.rand(()) < self.samples.share)
        return self.compared(self.own(batch) if own else batch)

    def own(self, batch: Batch) -> Batch:
        """The same prompts with answers of the student's own; labels are those answers."""
        settings, prompts = self.samples, _prompts(batch)
        answers = drawn(
            self.student,
            prompts,
            tokens=settings.tokens,
            temperature=settings.temperature,
            ends=settings.ends,
        )
        pairs = zip(prompts, answers, strict=True)
        rows = [[_example(*pair, most=settings.window + 1)] for pair in pairs]
        self._lengths.append(sum(map(len, answers)) / len(answers))
        found = rows_of(
            rows, length=longest(rows), padding=settings.padding, progress=batch.progress
        )
        return found.to(batch.tokens_BT.device)

    def readings(self) -> dict[str, float]:
        """Mean length of the answers that were drawn."""
        lengths, self._lengths = self._lengths, []
        return {"gkd.length": sum(lengths) / len(lengths)} if lengths else {}


def _prompts(batch: Batch) -> list[Tensor]:
    """What stands before the first label of each row (P,)."""
    ends_B = batch.mask_BT.int().argmax(1).tolist()
    return [ids_T[: end + 1] for ids_T, end in zip(batch.tokens_BT, ends_B, strict=True)]


def _example(prompt: Tensor, answer: Tensor, *, most: int) -> Example:
    ids_N = torch.cat([prompt, answer])[:most].cpu().numpy().astype(np.int64)
    return Example(ids_N=ids_N, answer_N=np.arange(len(ids_N)) >= len(prompt), place="drawn")
