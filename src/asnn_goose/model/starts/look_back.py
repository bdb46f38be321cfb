"""Heads of a student that begin as the teacher's: those that look one token back.

Such a head gives every token the value of the one before it, whatever both say (Olsson et al. 2022,
arXiv 2209.11895): the first half of copying. A recurrence builds it slowly, a shifted value is it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from asnn_goose.model.mixers.rwkv7.mixer import RWKV7Mixer
from asnn_goose.model.teacher import Teacher
from asnn_goose.ops.attention import causal_log_attention
from asnn_goose.ops.rotary import rotate

LEAST = 0.4
"""Attention to the token before from which on a head counts as one that looks back."""

TOKENS = 128
ROWS = 2


@torch.no_grad()
def looking_back(teacher: Teacher, *, rope_theta: float | None) -> Tensor:
    """Mean attention (L,H) of every head to the token before, on words without sense.

    rope_theta  the teacher's rotary base; None for one without rotary positions
    """
    draw = torch.Generator().manual_seed(0)
    positions = teacher.positions
    length = TOKENS if positions is None else min(TOKENS, positions.num_embeddings)
    tokens_BT = torch.randint(teacher.words, (ROWS, length), generator=draw)
    trace = teacher.trace(tokens_BT, frozenset({"queries", "keys"}))
    position_BT = torch.arange(length).expand(ROWS, -1)
    masses = []
    for pair in zip(trace.queries, trace.keys, strict=True):
        q_BTHN, k_BTHN = (
            x.float() if rope_theta is None else rotate(x.float(), position_BT, theta=rope_theta)
            for x in pair
        )
        mask_BT = torch.ones_like(tokens_BT, dtype=torch.bool)
        attention_BHTT = causal_log_attention(q_BTHN, k_BTHN, mask_BT).exp()
        masses.append(attention_BHTT.diagonal(-1, -2, -1).mean((0, 2)))
    return torch.stack(masses)


@torch.no_grad()
def start_looking_back(mixer: RWKV7Mixer, mass_H: Tensor) -> None:
    """Shift the values of the heads whose mass is at least LEAST by one whole token."""
    if mixer.value_shift is not None:
        shifted_H1 = (mass_H >= LEAST).float().unsqueeze(1)
        mixer.value_shift.mix.copy_(shifted_H1.expand(-1, mixer.head_size).reshape(1, -1))
