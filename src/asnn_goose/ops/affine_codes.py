"""Affine codes of a token, and their emission as graded spikes (SpikeLLM, arXiv 2407.04752)."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

LEAST_SCALE = 1e-5
"""Of a token whose numbers are all alike, as in OmniQuant (arXiv 2308.13137)."""


class AffineCodes(NamedTuple):
    """Whole numbers 0 .. 2^b - 1 (..., K), kept as floats, with scale and zero (..., 1)."""

    x_BK: Tensor
    scale_B1: Tensor
    zero_B1: Tensor

    def values(self) -> Tensor:
        """Scale times (x - zero), (..., K)."""
        return self.scale_B1 * (self.x_BK - self.zero_B1)


def affine_codes(h_BK: Tensor, *, bits: int, counted_K: Tensor | None = None) -> AffineCodes:
    """Code every vector of h (..., K) over its own range.

    s = (max - min) / (2^b - 1), z = round(-min / s), x = clip(round(h / s) + z, 0, 2^b - 1).
    Gradients pass roundings unchanged, and so reach the numbers that make the range.

    counted_K  channels whose numbers make the range, at least one; None: all
    """
    top = 2**bits - 1
    inside_BK = h_BK if counted_K is None else h_BK[..., counted_K]
    low_B1, high_B1 = inside_BK.amin(-1, keepdim=True), inside_BK.amax(-1, keepdim=True)
    scale_B1 = ((high_B1 - low_B1) / top).clamp_min(LEAST_SCALE)
    zero_B1 = _rounded(-low_B1 / scale_B1)
    x_BK = (_rounded(h_BK / scale_B1) + zero_B1).clamp(0, top)
    return AffineCodes(x_BK, scale_B1, zero_B1)


def _rounded(x: Tensor) -> Tensor:
    return cast(Tensor, _Rounded.apply(x))  # type: ignore[no-untyped-call]


class _Rounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


def emitted(x_BK: Tensor, *, bits: int, steps: int) -> Tensor:
    """Spikes (T, ..., K) of a generalised integrate-and-fire neuron charged with x at the start.

    Each step gives what the membrane holds, at most 2^n - 1, and takes it off. They add up to
    min(x, T (2^n - 1)).
    """
    m_BK, spikes = x_BK, list[Tensor]()
    for _ in range(steps):
        spikes.append(m_BK.clamp_max(2**bits - 1))
        m_BK = m_BK - spikes[-1]
    return torch.stack(spikes)
