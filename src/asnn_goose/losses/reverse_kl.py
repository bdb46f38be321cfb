"""Reverse KL divergence: MiniLLM (Gu et al. 2023, arXiv 2306.08543), per token."""

from __future__ import annotations

from torch import Tensor

from asnn_goose.losses.divergence import kl_divergence
from asnn_goose.losses.kinds import Divergence


class ReverseKL(Divergence):
    """tau^2 KL(p_student^tau || p_teacher^tau) per token of the given text.

    It seeks the teacher's modes, where the forward KL covers them all. The paper takes it over
    sequences that the student wrote, at tau = 1 and so without a factor.
    """

    def between(self, log_p_nV: Tensor, log_q_nV: Tensor) -> Tensor:
        return kl_divergence(log_q_nV, log_p_nV)
