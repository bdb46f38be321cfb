"""Skewed KL divergences: DistiLLM (Ko et al. 2024, arXiv 2402.03898)."""

from __future__ import annotations

from torch import Tensor

from asnn_goose.losses.divergence import kl_divergence, log_mixture
from asnn_goose.losses.kinds import Chunk, VocabLoss, check_temperature, teacher_logits


class SkewKL(VocabLoss):
    """tau^2 KL(p_T || alpha p_T + (1 - alpha) p_S) per token: bounded by -log(alpha).

    alpha        share of the teacher in the second place, 0 (forward KL) up to but not 1
    temperature  tau > 0; the paper and its code have no factor tau^2
    """

    def __init__(self, *, alpha: float = 0.1, temperature: float = 1.0) -> None:
        super().__init__()
        self.alpha = _check_alpha(alpha)
        self.temperature = check_temperature(temperature)

    def forward(self, z_student_nV: Tensor, z_teacher_nV: Tensor | None, chunk: Chunk) -> Tensor:
        """(n,) in nats."""
        z_teacher_nV, tau = teacher_logits(z_teacher_nV, "skewed KL"), self.temperature
        log_p, log_q = chunk.log_probs(z_teacher_nV, tau), chunk.log_probs(z_student_nV, tau)
        return tau**2 * kl_divergence(log_p, log_mixture(log_p, log_q, self.alpha))


class SkewReverseKL(VocabLoss):
    """tau^2 KL(p_S || (1 - alpha) p_T + alpha p_S) per token: bounded by -log(alpha).

    alpha        share of the student in the second place, 0 (reverse KL) up to but not 1
    temperature  tau > 0; the paper and its code have no factor tau^2
    """

    def __init__(self, *, alpha: float = 0.1, temperature: float = 1.0) -> None:
        super().__init__()
        self.alpha = _check_alpha(alpha)
        self.temperature = check_temperature(temperature)

    def forward(self, z_student_nV: Tensor, z_teacher_nV: Tensor | None, chunk: Chunk) -> Tensor:
        """(n,) in nats."""
        z_teacher_nV, tau = teacher_logits(z_teacher_nV, "skewed reverse KL"), self.temperature
        log_p, log_q = chunk.log_probs(z_teacher_nV, tau), chunk.log_probs(z_student_nV, tau)
        return tau**2 * kl_divergence(log_q, log_mixture(log_q, log_p, self.alpha))


def _check_alpha(alpha: float) -> float:
    if not 0 <= alpha < 1:
        raise ValueError(f"alpha = {alpha}: must be at least 0 and below 1")
    return float(alpha)
