"""Post-training as in SpikeLLM (arXiv 2407.04752): scales learned block after block."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, cast

from torch import Tensor, nn

from asnn_goose.model.goose.block import tell_share
from asnn_goose.model.goose.block_range import run_range
from asnn_goose.model.goose.causal_lm import GooseForCausalLM
from asnn_goose.model.goose.post_training import BlockFit, FittedBlock
from asnn_goose.trace import Batch, Trace
from asnn_goose.train.stages.stage import Stage


class CalibrateBlocks(Stage):
    """An equal part of the stage for every block, first to last: `model.goose.post_training`.

    A block's balance and clipping learn on what the student's blocks before it give, all they have
    learned included, towards the teacher's residual stream behind it. No weight trains; when the
    stage ends, what was learned is folded into norms and weights.
    """

    gives: ClassVar = frozenset({"hidden"})
    gives_signals: ClassVar = False
    drives: ClassVar = frozenset({"hidden"})
    trains: ClassVar = frozenset({"scales"})
    runs: ClassVar = "blocks"
    folds: ClassVar = True

    def beside(self) -> nn.ModuleDict:
        """A fit for each block. Raises ValueError where the student's precision forbids one."""
        blocks = cast(GooseForCausalLM, self.student).blocks
        return nn.ModuleDict({"blocks": nn.ModuleList(BlockFit(block) for block in blocks)})

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Weighted loss terms by name."""
        student, window = cast(GooseForCausalLM, self.student), self.window(batch)
        blocks, done = self._fitted(), batch.progress * len(student.blocks)
        number = min(int(done), len(blocks) - 1)
        for block in student.blocks[:number]:
            tell_share(block, self.anneals.at(1.0))
        tell_share(student.blocks[number], self.anneals.at(min(1.0, done - number)))
        teacher = self.teacher.trace(batch.tokens_BT, self.asked, window=window)
        x_BTD = run_range(
            student, batch.tokens_BT, first=number, last=number + 1, window=window, blocks=blocks
        )
        found = Trace(hidden=(x_BTD,), width=teacher.width, head_size=teacher.head_size)
        wanted = replace(teacher, hidden=(teacher.hidden[number + 1],))
        terms: dict[str, Tensor] = self.objective(found, wanted, batch)
        return terms

    def finish(self) -> None:
        """Fold all that was learned into the blocks."""
        for block in self._fitted():
            block.fold()

    def _fitted(self) -> list[FittedBlock]:
        fits = cast(nn.ModuleList, self.objective.beside["blocks"])
        blocks = cast(GooseForCausalLM, self.student).blocks
        pairs = zip(blocks, fits, strict=True)
        return [FittedBlock(block, cast(BlockFit, fit)) for block, fit in pairs]
