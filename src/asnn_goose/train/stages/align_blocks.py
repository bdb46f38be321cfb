"""Local alignment of whole blocks, for when their precision is lowered.

Every mixer and every MLP, each behind its own norm, learns to give what the teacher's gives on the
teacher's residual stream: all at once, none sees the errors of another, and no logits are computed.
The teacher may be the dense student that a rung of the precision ladder starts from.
"""

from __future__ import annotations

from typing import ClassVar, Protocol, cast

from torch import Tensor

from asnn_goose.trace import Batch, Trace, Window
from asnn_goose.train.stages.stage import Stage


class DrivenBlocks(Protocol):
    """A student whose blocks can be run on a residual stream from outside."""

    def drive_blocks(
        self,
        hidden: tuple[Tensor, ...],
        mixer_out: tuple[Tensor, ...],
        *,
        window: Window | None = None,
    ) -> Trace:
        """Run every mixer and MLP alone."""


class AlignBlocks(Stage):
    """The teacher's residual stream goes through the student's mixers and MLPs, one by one."""

    gives: ClassVar = frozenset({"mixer_out", "mlp_out"})
    gives_signals: ClassVar = False
    # An MLP reads the stream behind the mixer, which is the sum of these two.
    drives: ClassVar = frozenset({"hidden", "mixer_out"})
    trains: ClassVar = frozenset({"blocks", "mixers"})
    runs: ClassVar = "blocks"

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        self.anneal(batch)
        teacher = self.heard(batch)
        student = cast(DrivenBlocks, self.student).drive_blocks(
            teacher.hidden, teacher.mixer_out, window=self.window(batch)
        )
        return self.terms(student, teacher, batch)
