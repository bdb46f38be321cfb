"""Total variation distance (Wen et al. 2023, f-divergence distillation, arXiv 2307.15190)."""

from __future__ import annotations

from torch import Tensor

from asnn_goose.losses.kinds import Divergence


class TotalVariation(Divergence):
    """tau 1/2 sum |p_T^tau - p_S^tau| per token: from 0 to tau.

    The factor is tau, not tau^2: this distance grows with the first power of a small difference in
    logits and its gradient falls as 1 / tau, that of a KL as 1 / tau^2. The paper has neither.
    """

    power = 1

    def between(self, log_p_nV: Tensor, log_q_nV: Tensor) -> Tensor:
        return 0.5 * (log_p_nV.exp() - log_q_nV.exp()).abs().sum(-1)
