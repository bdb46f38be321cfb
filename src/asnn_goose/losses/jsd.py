"""Generalised Jensen-Shannon divergence: GKD (Agarwal et al. 2023, arXiv 2306.13649)."""

from __future__ import annotations

from torch import Tensor

from asnn_goose.losses.divergence import kl_divergence, log_mixture
from asnn_goose.losses.kinds import Divergence


class JSD(Divergence):
    """tau^2 [beta KL(p_T || m) + (1 - beta) KL(p_S || m)], m = beta p_T + (1 - beta) p_S.

    Divided by beta it becomes the forward KL for beta -> 0, divided by 1 - beta the reverse KL for
    beta -> 1; at 1/2 it is at most log 2. The paper has no factor tau^2.

    beta         share of the teacher, between 0 and 1
    temperature  tau > 0
    """

    def __init__(self, *, beta: float = 0.5, temperature: float = 1.0) -> None:
        super().__init__(temperature=temperature)
        if not 0 < beta < 1:
            raise ValueError(f"beta = {beta}: must lie between 0 and 1 (both are KL divergences)")
        self.beta = float(beta)

    def between(self, log_p_nV: Tensor, log_q_nV: Tensor) -> Tensor:
        log_m = log_mixture(log_p_nV, log_q_nV, self.beta)
        of_teacher, of_student = kl_divergence(log_p_nV, log_m), kl_divergence(log_q_nV, log_m)
        return self.beta * of_teacher + (1 - self.beta) * of_student
