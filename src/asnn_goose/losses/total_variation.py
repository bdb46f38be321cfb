"""Total variation distance (Wen et al. 2023, f-divergence distillation, arXiv 2307.15190)."""

from __future__ import annotations

from torch import Tensor

from asnn_goose.losses.kinds import Chunk, VocabLoss, check_temperature, teacher_logits


class TotalVariation(VocabLoss):
    """tau 1/2 sum |p_T^tau - p_S^tau| per token: from 0 to tau.

    The factor is tau, not tau^2: this distance grows with the first power of a small difference in
    logits and its gradient falls as 1 / tau, that of a KL as 1 / tau^2. The paper has neither.

    temperature  tau > 0
    """

    def __init__(self, *, temperature: float = 1.0) -> None:
        super().__init__()
        self.temperature = check_temperature(temperature)

    def forward(self, z_student_nV: Tensor, z_teacher_nV: Tensor | None, chunk: Chunk) -> Tensor:
        """One value per token (n,)."""
        z_teacher_nV, tau = teacher_logits(z_teacher_nV, "total variation"), self.temperature
        p, q = (chunk.log_probs(z, tau).exp() for z in (z_teacher_nV, z_student_nV))
        return 0.5 * tau * (p - q).abs().sum(-1)
