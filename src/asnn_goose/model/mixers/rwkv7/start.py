"""How an RWKV-7 mixer starts from scratch (arXiv 2503.14456 and its released code)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from asnn_goose.model.mixers.rwkv7.weights import RWKV7Weights
from asnn_goose.model.parts.low_rank import LowRank
from asnn_goose.model.parts.token_shift import shift_curve

SHIFT_POWERS = {"r": 0.2, "w": 0.9, "k": 0.7, "v": 0.7, "a": 0.9, "g": 0.2}
"""Exponents of the token-shift curves, in the order of the mixer's consumers."""


@torch.no_grad()
def start_matrices(mixer: RWKV7Weights) -> None:
    """Orthogonal r, k and v, and an output projection of zeros."""
    nn.init.orthogonal_(mixer.receptance.weight)
    nn.init.orthogonal_(mixer.key.weight, gain=0.1)
    nn.init.orthogonal_(mixer.value.weight)
    nn.init.zeros_(mixer.output.weight)  # a new block adds nothing to the stream


@torch.no_grad()
def start_vectors(mixer: RWKV7Weights, *, layer: int, layers: int) -> None:
    """Low-rank adapters, decays, token shifts, gains: a curve over depth and channels for each."""
    ramp = ramps(heads=mixer.heads, head_size=mixer.head_size)
    late = layer / max(layers - 1, 1)
    # Early channels forget slowly and late ones fast, in deeper layers fewer of them: heads begin
    # with memories of different lengths instead of having to part first.
    decay = -6 + 6 * ramp.share ** (1 + late**0.3) + 0.5 + 2.5 * ramp.zigzag
    _low_rank(mixer.decay, bias=decay)
    _low_rank(mixer.rate, bias=-0.19 + 0.3 * ramp.zigzag + 0.4 * ramp.linear)
    if mixer.value_mix is not None:
        _low_rank(mixer.value_mix, bias=0.73 - 0.4 * ramp.linear)
    if mixer.gate is not None:
        _low_rank(mixer.gate, bias=None)
    if mixer.shift is not None:
        consumers, width = mixer.shift.mix.shape
        # Without a gate its consumer, the last one, is left out.
        powers = list(SHIFT_POWERS.values())[:consumers]
        curves = [shift_curve(width, power * (1 - layer / layers)) for power in powers]
        mixer.shift.mix.copy_(torch.stack(curves))
    if mixer.value_shift is not None:
        mixer.value_shift.mix.zero_()
    if mixer.removal is not None:
        mixer.removal.copy_(0.71 - 0.1 * ramp.linear)
    if mixer.replacement is not None:
        mixer.replacement.fill_(1.02)
    if mixer.bonus is not None:
        mixer.bonus.fill_(-0.04)
    if mixer.norm is not None:
        mixer.norm.weight.fill_(((1 + layer) / layers) ** 0.7)
        mixer.norm.bias.zero_()


class Ramps(NamedTuple):
    """Curves over the channels c of a mixer that the published vectors are made of.

    share = c/(C-1) in [0,1]; linear = share - 1/2; zigzag = z|z| with z from -1 to 1 in a head.
    """

    share: Tensor
    linear: Tensor
    zigzag: Tensor


def ramps(*, heads: int, head_size: int) -> Ramps:
    """The curves for `heads` heads of `head_size` channels."""
    channels = heads * head_size
    share = torch.arange(channels) / max(channels - 1, 1)
    middle = (head_size - 1) / 2
    z = ((torch.arange(channels) % head_size) - middle) / max(middle, 1)
    return Ramps(share, share - 0.5, z * z.abs())


def _low_rank(adapter: LowRank, *, bias: Tensor | None) -> None:
    """A = 0, B orthogonal with gain 0.1 max(1, sqrt(rows/columns)): the bias alone speaks."""
    rows, columns = adapter.up.shape
    nn.init.zeros_(adapter.down)
    nn.init.orthogonal_(adapter.up, gain=0.1 * max(1.0, rows / columns) ** 0.5)
    if adapter.bias is not None and bias is not None:
        adapter.bias.copy_(bias)
