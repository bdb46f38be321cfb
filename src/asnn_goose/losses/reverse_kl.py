"""Reverse KL divergence: MiniLLM (Gu et al. 2023, arXiv 2306.08543), per token."""

from __future__ import annotations

from torch import Tensor

from asnn_goose.losses.divergence import kl_divergence
from asnn_goose.losses.kinds import Chunk, VocabLoss, check_temperature, teacher_logits


class ReverseKL(VocabLoss):
    """tau^2 KL(p_student^tau || p_teacher^tau) per token of the given text.

    It seeks the teacher's modes, where the forward KL covers them all. The paper takes it over
    sequences that the student wrote, at tau = 1 and so without a factor.

    temperature  tau > 0
    """

    def __init__(self, *, temperature: float = 1.0) -> None:
        super().__init__()
        self.temperature = check_temperature(temperature)

    def forward(self, z_student_nV: Tensor, z_teacher_nV: Tensor | None, chunk: Chunk) -> Tensor:
        """(n,) in nats."""
        z_teacher_nV, tau = teacher_logits(z_teacher_nV, "reverse KL"), self.temperature
        log_p, log_q = chunk.log_probs(z_teacher_nV, tau), chunk.log_probs(z_student_nV, tau)
        return tau**2 * kl_divergence(log_q, log_p)
