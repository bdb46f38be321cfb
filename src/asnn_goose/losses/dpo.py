"""Learning from preferences without a reward model (Rafailov et al. 2023, arXiv 2305.18290)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from asnn_goose.losses.kinds import PairLoss


class DPO(PairLoss):
    """-(1 - epsilon) log sigma(beta lead) - epsilon log sigma(-beta lead), equation 7 at epsilon 0.

    label_smoothing  epsilon, the share of pairs that are taken to be the wrong way round, below
                     1/2 (conservative DPO: Mitchell 2023, a note on arXiv 2305.18290)
    """

    def __init__(
        self, *, beta: float = 0.1, label_smoothing: float = 0.0, length_normalised: bool = False
    ) -> None:
        super().__init__(beta=beta, length_normalised=length_normalised)
        if not 0 <= label_smoothing < 0.5:
            raise ValueError(f"label_smoothing = {label_smoothing}: must be 0 or more, below 0.5")
        self.label_smoothing = float(label_smoothing)

    def forward(self, lead_B: Tensor) -> Tensor:
        """(B,) in nats; log 2 where neither answer has gained."""
        reward_B, wrong = self.beta * lead_B, self.label_smoothing
        return -(1 - wrong) * F.logsigmoid(reward_B) - wrong * F.logsigmoid(-reward_B)
