"""The matrix by which attention mixes tokens."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from asnn_goose.ops.documents import same_document

HIDDEN_SCORE = -1e9
"""Score of a pair that is not looked at: finite, so that differences of logarithms stay so."""


def causal_scores(q_BTHN: Tensor, k_BTHN: Tensor) -> Tensor:
    """Scores q k^T / sqrt(N) as (B,H,T,T); entries above the diagonal mean nothing."""
    q, k = q_BTHN.transpose(1, 2), k_BTHN.transpose(1, 2)
    # k comes as attention has it. A student folds 1/sqrt(N) into its key and undoes that in its
    # signals, or every relation loss would divide twice.
    return q @ k.transpose(-1, -2) / math.sqrt(q_BTHN.shape[-1])


def causal_pairs(keep_BT: Tensor, documents_BT: Tensor | None = None) -> Tensor:
    """True (B,1,T,T) where a token [row] may look at another [column] that is kept.

    With `documents_BT` only at those of its own document.
    """
    T = keep_BT.shape[1]
    causal = torch.ones(T, T, dtype=torch.bool, device=keep_BT.device).tril()
    pairs_BTT = causal & keep_BT[:, None, :]
    if documents_BT is not None:
        pairs_BTT = pairs_BTT & same_document(documents_BT)
    return pairs_BTT[:, None]


def causal_log_attention(
    q_BTHN: Tensor, k_BTHN: Tensor, keep_BT: Tensor, documents_BT: Tensor | None = None
) -> Tensor:
    """Logarithm of softmax(q k^T / sqrt(N)) as (B,H,T,T) over the earlier tokens that are kept.

    With `documents_BT` over those of a token's own document. Every row also looks at itself, so
    that the rows of tokens that are not kept stay finite.
    """
    # A row of nothing but hidden scores would be a softmax over equals: finite, but with gradients
    # to tokens that do not exist.
    own = torch.eye(keep_BT.shape[1], dtype=torch.bool, device=keep_BT.device)
    scores = causal_scores(q_BTHN, k_BTHN)
    return scores.masked_fill(
        ~(causal_pairs(keep_BT, documents_BT) | own), HIDDEN_SCORE
    ).log_softmax(-1)
