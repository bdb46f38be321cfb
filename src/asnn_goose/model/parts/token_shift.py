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


class FollowingShift(nn.Module):
    """x + (x_{t-1} - x_t)(mu + m), where m follows the data (arXiv 2404.05892, ddlerp).

    (m of every consumer) = tanh((x + (x_{t-1} - x_t) mu_x) A) B. `mix` (1 + consumers, D) holds
    mu_x and the consumers' mu; A is `down` (D, consumers rank), B is `up` (consumers, rank, D).
    """

    def __init__(self, *, width: int, consumers: int, rank: int) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.zeros(1 + consumers, width))
        self.down = nn.Parameter(torch.zeros(width, consumers * rank))
        self.up = nn.Parameter(torch.zeros(consumers, rank, width))

    def forward(self, x_BTD: Tensor, last_BD: Tensor | None, window: Window) -> tuple[Tensor, ...]:
        """One mixed (B,T,D) per consumer; documents lean on nothing before them."""
        before_BTD = previous_token(x_BTD, last_BD, window)
        delta_BTD = before_BTD - x_BTD
        seen_BTD = torch.addcmul(x_BTD, delta_BTD, self.mix[0])
        inner_BTKR = torch.tanh(seen_BTD @ self.down).unflatten(-1, self.up.shape[:2])
        return tuple(
            x_BTD + delta_BTD * (mu_D + inner_BTR @ up_RD)
            for mu_D, inner_BTR, up_RD in zip(
                self.mix[1:], inner_BTKR.unbind(-2), self.up, strict=True
            )
        )


@torch.no_grad()
def start_shares(mix: Tensor, consumers: str, *, layer: int, layers: int) -> None:
    """Shares of the token before, as RWKV-4 to 6 start them: `mix` has a row for each consumer.

    1 - (c/D)^p over the channels c, p falling from 1 in the first block; r and g half that power,
    and v less 0.3 in the last block, so that it leans away from the token before.
    """
    early, late = 1 - layer / layers, layer / max(layers - 1, 1)
    for row_D, consumer in zip(mix, consumers, strict=True):
        row_D.copy_(shift_curve(mix.shape[1], early / 2 if consumer in "rg" else early))
        if consumer == "v":
            row_D.sub_(0.3 * late)
