"""A vector as a few ternary steps of spikes: integers times one amplitude per token."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from asnn_goose.names import lookup

MAX_STEPS = {"rate": 8, "radix2": 6, "radix3": 4}
"""The codes, and how many steps each may take."""


class Spikes(NamedTuple):
    """Coded tokens: integers q (..., K), kept as floats, and an amplitude (..., 1) each.

    offset  what silence stands for, where it is not 0
    """

    q_BK: Tensor
    amplitude_B1: Tensor
    offset: Tensor | None = None

    def values(self) -> Tensor:
        """What the spikes stand for: amplitude q + offset, (..., K)."""
        found_BK = self.amplitude_B1 * self.q_BK
        return found_BK if self.offset is None else found_BK + self.offset


def step_weights(code: str, steps: int) -> tuple[int, ...]:
    """What a spike in step j = 0 .. steps-1 counts: 1 (rate), 2^j (radix2) or 3^j (radix3).

    Raises ValueError for an unknown code, or more steps than MAX_STEPS allows.
    """
    most = lookup(MAX_STEPS, code, setting="code")
    if not 1 <= steps <= most:
        raise ValueError(f"steps = {steps}: {code} takes 1 to {most}")
    base = {"rate": 1, "radix2": 2, "radix3": 3}[code]
    return tuple(base**step for step in range(steps))


def levels(code: str, steps: int) -> int:
    """Largest |q| that the steps can spell.

    >>> levels("rate", 3), levels("radix2", 3), levels("radix3", 3)
    (3, 7, 13)
    """
    return sum(step_weights(code, steps))


def encode(h_BK: Tensor, *, steps: int, code: str, threshold: float) -> Spikes:
    """Code every vector of h (..., K) by itself, relative to its own mean magnitude m.

    One step (ternary spikes with an adaptive threshold, SpikingBrain, arXiv 2509.05276): q is
    the sign of h where |h| > threshold m, and the amplitude is the mean |h| of what fired.
    More steps: q = round(h / amplitude), clipped to what the steps can spell, where the largest
    q stands for threshold m. Sums over K are taken in float64, everything else in h's dtype.
    """
    top = levels(code, steps)
    mean_B1 = mean_magnitude(h_BK)
    return (
        _one_step(h_BK, mean_B1, threshold)
        if steps == 1
        else _graded(h_BK, mean_B1 * threshold, top)
    )


def encode_binary(h_BK: Tensor, *, threshold: float) -> Spikes:
    """`encode` in one step without negative spikes: q = 1[h > threshold m], m still mean |h|."""
    # Clamped values never fire, yet the mean is that of both signs: the share that fires is then
    # half of the ternary one, not the same again.
    return _one_step(h_BK.clamp_min(0), mean_magnitude(h_BK), threshold)


def encode_at(h_BK: Tensor, amplitude: Tensor, *, top: int, fires: Tensor | None = None) -> Spikes:
    """Code h (..., K) at amplitudes that are given, not measured; they broadcast to h.

    One level: q is the sign of h where |h| > fires, None for half an amplitude. More:
    q = round(h / amplitude), clipped to -top .. top; there an amplitude too small to have an
    inverse counts as 0, and nothing fires.
    """
    if top > 1:
        return _rounded(h_BK, amplitude, top)
    edge = amplitude / 2 if fires is None else fires
    return Spikes(h_BK.sign() * (h_BK.abs() > edge), amplitude)


def mean_magnitude(h_BK: Tensor) -> Tensor:
    """Mean |h| over the last axis, (..., 1), summed in float64."""
    # Beside a threshold the last bit decides whether a spike comes; sums in float64 are the same in
    # torch, numpy and the engine whatever their order.
    return h_BK.abs().mean(-1, keepdim=True, dtype=torch.float64).to(h_BK.dtype)


def _one_step(h_BK: Tensor, mean_B1: Tensor, threshold: float) -> Spikes:
    fired = h_BK.abs() > mean_B1 * threshold
    # In float64, so that torch, numpy and the engine find one amplitude in whatever order they sum.
    total_B1 = (h_BK.abs() * fired).sum(-1, keepdim=True, dtype=torch.float64)
    amplitude_B1 = total_B1 / fired.sum(-1, keepdim=True).clamp_min(1)
    return Spikes(h_BK.sign() * fired, amplitude_B1.to(h_BK.dtype))


def _graded(h_BK: Tensor, range_B1: Tensor, top: int) -> Spikes:
    return _rounded(h_BK, range_B1 / top, top)


def _rounded(h_BK: Tensor, amplitude_B1: Tensor, top: int) -> Spikes:
    # One division a token and K products, the engine's way too: h / amplitude would round
    # differently in the last bit and so move a spike now and then.
    inverse_B1 = amplitude_B1.reciprocal()
    # Silence, and amplitudes too small to have an inverse.
    silent_B1 = ~inverse_B1.isfinite()
    q_BK = (h_BK * inverse_B1.masked_fill(silent_B1, 0)).round().clamp(-top, top)
    return Spikes(q_BK, amplitude_B1.masked_fill(silent_B1, 0))


def digits(q_BK: Tensor, *, steps: int, code: str) -> Tensor:
    """Spikes of every step, (..., K, steps) with values -1, 0 and 1, in q's dtype.

    Weighted with `step_weights` they add up to q again: |q| spikes first to last (rate), the
    bits of |q| with q's sign (radix2), or balanced ternary digits (radix3).
    """
    weights = torch.tensor(step_weights(code, steps), device=q_BK.device)
    q_BK1 = q_BK.unsqueeze(-1)
    if code == "rate":
        # First to last, so that a smaller |q| is the same train cut short.
        return q_BK1.sign() * (q_BK1.abs() > torch.arange(steps, device=q_BK.device))
    if code == "radix2":
        return q_BK1.sign() * torch.floor(q_BK1.abs() / weights).remainder(2).to(q_BK.dtype)
    # Rounding to the nearest multiple leaves the lower digits, which span less than half of one.
    upper = torch.floor((q_BK1 + weights // 2) / weights)
    return ((upper + 1).remainder(3) - 1).to(q_BK.dtype)
