"""Token shift: every input may lean on the token before it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asnn_goose.ops.documents import document_starts
from asnn_goose.trace import Window


def previous_token(x_BTD: Tensor, last_BD: Tensor | None, window: Window) -> Tensor:
    """X one position later: row t holds x_{t-1}; row 0 holds `last_BD`, or zeros.

    The first row of every later document holds zeros too.
    """
    first = torch.zeros_like(x_BTD[:, :1]) if last_BD is None else last_BD.unsqueeze(1)
    earlier_BTD = torch.cat((first.to(x_BTD.dtype), x_BTD[:, :-1]), dim=1)
    if window.documents_BT is None:
        return earlier_BTD
    return earlier_BTD.masked_fill(document_starts(window.documents_BT).unsqueeze(-1), 0)


class TokenShift(nn.Module):
    """x + (x_{t-1} - x_t) * mu, one mu per consumer.

    `mix` (consumers, D) starts at zero: no shift.
    """

    def __init__(self, *, width: int, consumers: int) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.zeros(consumers, width))

    def forward(self, x_BTD: Tensor, last_BD: Tensor | None, window: Window) -> tuple[Tensor, ...]:
        """One mixed (B,T,D) per consumer; documents lean on nothing before them."""
        # One difference for all consumers; each then costs one fused pass over the stream.
        delta_BTD = previous_token(x_BTD, last_BD, window) - x_BTD
        return tuple(torch.addcmul(x_BTD, delta_BTD, mu) for mu in self.mix.unbind())


def shift_curve(width: int, exponent: float) -> Tensor:
    """1 - (c/D)^exponent over the channels c: how RWKV starts its shifts."""
    return 1 - (torch.arange(width) / width) ** exponent
