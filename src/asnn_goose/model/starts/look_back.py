"""Which heads of a teacher look one token back."""

from __future__ import annotations

import torch
from torch import Tensor

from asnn_goose.model.teacher import Teacher
from asnn_goose.ops.attention import causal_log_attention
from asnn_goose.ops.rotary import rotate

ROWS, TOKENS = 2, 128
"""Size of the text without sense that is read."""


@torch.no_grad()
def looks_back(teacher: Teacher) -> Tensor:
    """Mean attention (L,H) of every head to the token before, on words drawn at random.

    Such a head gives every token what the one before it has, whatever both say.
    """
    # Words without sense: in real text a head that follows grammar looks at the token before often,
    # too. A seed of its own, so that a conversion draws nothing from the run's generator.
    draw = torch.Generator().manual_seed(0)
    positions = teacher.positions
    length = TOKENS if positions is None else min(TOKENS, positions.num_embeddings)
    tokens_BT = torch.randint(teacher.words, (ROWS, length), generator=draw)
    trace = teacher.trace(tokens_BT, frozenset({"queries", "keys"}))
    position_BT = torch.arange(length).expand(ROWS, -1)
    mask_BT = torch.ones_like(tokens_BT, dtype=torch.bool)
    masses = []
    pairs = zip(trace.signal("queries"), trace.signal("keys"), strict=True)
    for block, pair in enumerate(pairs):
        # A Trace has queries and keys before their rotation; attention to a neighbour hangs on it.
        theta, channels = trace.rotation(block)
        q_BTHN, k_BTHN = (
            rotate(x.float(), position_BT, theta=theta, channels=channels) if theta else x.float()
            for x in pair
        )
        attention_BHTT = causal_log_attention(q_BTHN, k_BTHN, mask_BT).exp()
        masses.append(attention_BHTT.diagonal(-1, -2, -1).mean((0, 2)))
    return torch.stack(masses)
