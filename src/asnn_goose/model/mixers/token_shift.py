"""Token shift: every input may lean on the token before it."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def previous_token(x_BTD: Tensor, last_BD: Tensor | None) -> Tensor:
    """X one position later: row t holds x_{t-1}; row 0 holds `last_BD`, or zeros."""
    first = torch.zeros_like(x_BTD[:, :1]) if last_BD is None else last_BD.unsqueeze(1)
    return torch.cat((first.to(x_BTD.dtype), x_BTD[:, :-1]), dim=1)


class TokenShift(nn.Module):
    """x + (x_{t-1} - x_t) * mu, one mu per consumer.

    `mix` (consumers, D) starts at zero: no shift.
    """

    def __init__(self, *, width: int, consumers: int) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.zeros(consumers, width))

    def forward(self, x_BTD: Tensor, last_BD: Tensor | None) -> tuple[Tensor, ...]:
        """One mixed (B,T,D) per consumer."""
        delta_BTD = previous_token(x_BTD, last_BD) - x_BTD
        return tuple(torch.addcmul(x_BTD, delta_BTD, mu) for mu in self.mix.unbind())
