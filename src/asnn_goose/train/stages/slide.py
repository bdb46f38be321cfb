"""Sliding windows of blocks: each few are trained on what the student's own blocks before give.

After CAT-Q (arXiv 2606.26650). In `align_blocks` every block sees the teacher's stream, so that no
one learns to mend the errors of the blocks before it; here the blocks are trained from the first to
the last, and what was trained before stays.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, ClassVar, cast

from torch import Tensor

from asnn_goose.model.goose.block import tell_share
from asnn_goose.model.goose.block_range import run_range
from asnn_goose.model.goose.causal_lm import GooseForCausalLM
from asnn_goose.trace import Batch, Trace
from asnn_goose.train.stages.stage import Stage


class Slide(Stage):
    """A part of the stage for every `span` neighbouring blocks, sliding on by `stride` blocks.

    Only these train, towards the teacher's residual stream behind the last of them; the blocks
    before run as they are. A precision that falls within a stage falls within each such part.
    """

    gives: ClassVar = frozenset({"hidden"})
    gives_signals: ClassVar = False
    drives: ClassVar = frozenset({"hidden"})
    trains: ClassVar = frozenset({"blocks"})
    runs: ClassVar = "blocks"

    def __init__(self, *, span: int, stride: int = 1, **parts: Any) -> None:
        super().__init__(**parts)
        self.span, self.stride = span, stride

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        student, window = cast(GooseForCausalLM, self.student), self.window(batch)
        first, share = self.place(batch.progress)
        last = min(first + self.span, len(student.blocks))
        # Blocks before have come as far as the stage takes them.
        for number, block in enumerate(student.blocks[:last]):
            tell_share(block, self.anneals.at(share if number >= first else 1.0))
        teacher = self.heard(batch)
        x_BTD = run_range(student, batch.tokens_BT, first=first, last=last, window=window)
        found = Trace(hidden=(x_BTD,), width=teacher.width, head_size=teacher.head_size)
        wanted = replace(teacher, hidden=(teacher.hidden[last],))
        return self.terms(found, wanted, batch)

    def place(self, progress: float) -> tuple[int, float]:
        """The first block that trains after a share of the stage, and the share of its part."""
        blocks = len(cast(GooseForCausalLM, self.student).blocks)
        parts = parts_of(blocks, span=self.span, stride=self.stride)
        part = min(int(progress * parts), parts - 1)
        # The last part reaches the last block, and slides on by less where they do not divide.
        first = min(part * self.stride, max(0, blocks - self.span))
        return first, min(1.0, progress * parts - part)


def parts_of(blocks: int, *, span: int, stride: int) -> int:
    """How many runs of `span` blocks, each `stride` further on, reach every block.

    >>> parts_of(30, span=4, stride=2)
    14
    """
    return 1 + max(0, math.ceil((blocks - span) / stride))
