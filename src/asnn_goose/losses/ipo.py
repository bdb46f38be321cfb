"""Preferences whose lead has a goal (Azar et al. 2023, arXiv 2310.12036)."""

from __future__ import annotations

from torch import Tensor

from asnn_goose.losses.kinds import PairLoss


class IPO(PairLoss):
    """(lead - 1 / (2 beta))^2, equation 17: the lead is to be so large, and no larger.

    The paper's tau is beta here. The paper has sums over an answer's tokens.
    """

    def forward(self, lead_B: Tensor) -> Tensor:
        return (lead_B - 1 / (2 * self.beta)).square()
