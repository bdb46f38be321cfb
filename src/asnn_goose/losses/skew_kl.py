"""Skewed KL divergences: DistiLLM (Ko et al. 2024, arXiv 2402.03898)."""

from __future__ import annotations

from torch import Tensor

from asnn_goose.losses.divergence import kl_divergence, log_mixture
from asnn_goose.losses.kinds import Divergence


class SkewKL(Divergence):
    """tau^2 KL(p_T || alpha p_T + (1 - alpha) p_S) per token: bounded by -log(alpha).

    alpha        share of the first in the second place, 0 (forward KL) up to but not 1
    temperature  tau > 0; the paper and its code have no factor tau^2
    """

    def __init__(self, *, alpha: float = 0.1, temperature: float = 1.0) -> None:
        super().__init__(temperature=temperature)
        if not 0 <= alpha < 1:
            raise ValueError(f"alpha = {alpha}: must be at least 0 and below 1")
        self.alpha = float(alpha)

    def between(self, log_p_nV: Tensor, log_q_nV: Tensor) -> Tensor:
        return kl_divergence(log_p_nV, log_mixture(log_p_nV, log_q_nV, self.alpha))


class SkewReverseKL(SkewKL):
    """tau^2 KL(p_S || (1 - alpha) p_T + alpha p_S) per token: the same with both sides changed."""

    def between(self, log_p_nV: Tensor, log_q_nV: Tensor) -> Tensor:
        return super().between(log_q_nV, log_p_nV)
