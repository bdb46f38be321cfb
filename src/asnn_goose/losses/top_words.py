"""KL to a teacher of whom only the most likely words are known, one by one, and the rest as one.

With S the K words and a bar for the sum over all others, at one temperature on both sides:

    sum_{i in S} p_i (log p_i - log q_i) + pbar (log pbar - log qbar)

is KL between the two distributions with the rest taken as one word: never above the full one, and
the same where the student divides the rest as the teacher does. Its gradient lifts or lowers the
rest as a whole, in the student's own proportions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from asnn_goose.losses.kinds import Chunk
from asnn_goose.ops.divergence import fits_vocabulary, fused_top_kl
from asnn_goose.trace import TopWords

LEAST = 1e-6
"""Of fp32 sums to 1 no smaller rest is left; a student's rest counts as at least this much."""


def top_kl(top: TopWords, z_student_nV: Tensor, chunk: Chunk, tau: float) -> Tensor:
    """tau^2 times the divergence at temperature tau (n,), from the student's logits.

    Raises ValueError where the rest is not known at that temperature.
    """
    if not fits_vocabulary(z_student_nV, top=top.ids_nK.shape[1]):
        return tau**2 * top_divergence(top, chunk.log_probs(z_student_nV, tau), tau)
    log_p_nK, log_rest_n1 = top.at(tau)
    return fused_top_kl(z_student_nV, top.ids_nK, log_p_nK, log_rest_n1, tau, least=LEAST)


def top_divergence(top: TopWords, log_q_nV: Tensor, tau: float) -> Tensor:
    """(n,) in nats, from the student's log-probabilities at temperature tau.

    Raises ValueError where the rest is not known at that temperature.
    """
    log_p_nK, log_rest_n1 = top.at(tau)
    log_q_nK = log_q_nV.gather(-1, top.ids_nK)
    left_n1 = (1 - log_q_nK.exp().sum(-1, keepdim=True)).clamp_min(LEAST)
    known_n = (log_p_nK.exp() * (log_p_nK - log_q_nK)).sum(-1)
    rest_n1 = log_rest_n1.exp()
    # 0 log 0 is 0: no word is left where all of them are known.
    gap_n1 = torch.where(rest_n1 > 0, log_rest_n1 - left_n1.log(), 0)
    return known_n + (rest_n1 * gap_n1).squeeze(-1)
