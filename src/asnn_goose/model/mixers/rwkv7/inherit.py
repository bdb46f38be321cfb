"""How an RWKV-7 mixer takes over a teacher's attention."""

from __future__ import annotations

from asnn_goose.model.mixers.rwkv7.weights import RWKV7Weights
from asnn_goose.model.parts.attention import NORM_START, Attention

LOOKS_BACK = 0.4
"""Attention to the token before from which on a head's values start as those of that token: the
first half of copying (Olsson et al. 2022, arXiv 2209.11895), which a recurrence builds slowly."""

VALUE_MIX_START = -4.0
"""Bias that starts the mixing of first-block values at under 2 %."""


def inherit(mixer: RWKV7Weights, attention: Attention) -> None:
    """q, k, v, o become r, k, v and the output projection."""
    attention.give(mixer)
    _start_neutral(mixer)
    if mixer.value_shift is not None and attention.looks_back_H is not None:
        back_H1 = (attention.looks_back_H >= LOOKS_BACK).float().unsqueeze(1)
        mixer.value_shift.mix.copy_(back_H1.expand(-1, mixer.head_size).reshape(1, -1))


def _start_neutral(mixer: RWKV7Weights) -> None:
    """Parts that the teacher lacks start without effect but not symmetric."""
    if mixer.shift is not None:
        mixer.shift.mix.zero_()  # every projection sees the token itself, as attention's do
    if mixer.removal is not None:
        mixer.removal.fill_(1.0)
    if mixer.bonus is not None:
        mixer.bonus.zero_()
    if mixer.norm is not None:
        mixer.norm.weight.fill_(NORM_START)
    if mixer.value_mix is not None and mixer.value_mix.bias is not None:
        mixer.value_mix.bias.fill_(VALUE_MIX_START)
    if mixer.gate is not None:
        up = mixer.gate.up
        up.sub_(up.mean(0))  # sigma(0) = 1/2 everywhere: zero column sums add nothing
        if mixer.gate_kind == "sigmoid":
            up.add_(2.0 / up.shape[0])
