"""SpikingBERT's training (AAAI 2024, arXiv 2308.10873): counted spikes, gradients of rates."""

from __future__ import annotations

from typing import Any, ClassVar, cast

from torch import Tensor

from asnn_goose.model.goose.causal_lm import GooseForCausalLM
from asnn_goose.model.goose.rates import GIVES, trace_at_equilibrium
from asnn_goose.trace import Batch
from asnn_goose.train.stages.stage import Stage


class Equilibrium(Stage):
    """Distillation whose student spikes for `steps` steps a token (the paper's T_conv, 100).

    Each step costs an MLP; memory is that of one pass. In a student with `feedback` the formula is
    solved for the stream that comes back into the first block; in one without, as in the paper's
    release, the adjoint is plain back-propagation through the clamps.
    """

    gives: ClassVar = GIVES
    gives_signals: ClassVar = False
    trains: ClassVar = frozenset({"mixers", "blocks", "body", "all"})

    def __init__(self, *, steps: int, **parts: Any) -> None:
        super().__init__(**parts)
        self.steps = steps
        self._gaps: list[float] = []

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Weighted loss terms by name. Raises ValueError for neurons that do not settle."""
        self.anneal(batch)
        student, gap = trace_at_equilibrium(
            cast(GooseForCausalLM, self.student),
            batch.tokens_BT,
            self.objective.needs,
            window=self.window(batch),
            steps=self.steps,
        )
        self._gaps.append(gap)
        return self.terms(student, self.heard(batch), batch)

    def readings(self) -> dict[str, float]:
        """How far counted hidden states are from the formula, relative."""
        gaps, self._gaps = self._gaps, []
        return {"equilibrium.gap": sum(gaps) / len(gaps)} if gaps else {}
