"""A norm right before a ternary matrix (SubLN; BitNet 2310.11453, BitDistill 2510.13998)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

EPS = 1e-6


class SubNorm(nn.Module):
    """x / rms(x) times a gain per channel, over (..., K).

    It joins a model that is trained already, so it lets x pass until the first training batch,
    and all its gains begin at that batch's mean rms: tokens of ordinary size stay as they are.
    """

    started: Tensor

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(columns))
        self.register_buffer("started", torch.zeros((), dtype=torch.bool))

    @property
    def waits(self) -> bool:
        """Whether its first batch is still to come."""
        return not bool(self.started)

    def forward(self, x_BK: Tensor) -> Tensor:
        """(..., K) -> (..., K), statistics in fp32 at least."""
        wide_BK = x_BK.to(torch.promote_types(x_BK.dtype, torch.float32))
        # eps stands inside the root: a token of zeros stays one of zeros.
        rms_B1 = wide_BK.square().mean(-1, keepdim=True).add(EPS * EPS).sqrt()
        if not self.started:
            # A student that is only measured must not be changed by being measured.
            if not self.training:
                return x_BK
            self._start(rms_B1)
        return (wide_BK / rms_B1 * self.weight).to(x_BK.dtype)

    @torch.no_grad()
    def _start(self, rms_B1: Tensor) -> None:
        # A gain of 1 would bring all tokens to rms 1 and throw a trained matrix off its scale.
        self.weight.fill_(rms_B1.mean())
        self.started.fill_(True)
