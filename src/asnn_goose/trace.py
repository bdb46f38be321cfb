"""What one forward pass leaves behind, and what one training batch carries.

Losses know only these two value objects, so a live teacher, a cached teacher and a fake tensor
in a test are interchangeable.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORED_LABEL = -100


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One forward pass of a teacher or a student; only what was asked for is filled.

    Shapes: B sequences, T tokens, D width, H heads, N head size, V vocabulary, L blocks.

    final_BTD  output of the last norm: what the head multiplies
    head_VD    weight of the head
    hidden     residual stream: the embedding, then the output of every block (L + 1 of B,T,D)
    mixer_in   input of every token mixer or attention, after its norm (L of B,T,D)
    mixer_out  output of every token mixer or attention (L of B,T,D)
    mlp_out    output of every MLP (L of B,T,D)
    queries, keys, values   per block (B,T,H,N); a recurrent student gives r, k sqrt(N) and v. Keys
               are in such units that the model's own score of two tokens is q k / sqrt(N)
    log_decay, removal, rate, written   per block (B,T,H,N), of an RWKV-7 student alone: log w, the
               unit vector kappa, a, and the key that is written, k (1 + (a - 1) k_a)
    final_norm the last norm itself, (...,D) -> (...,D); comes with the logits
    """

    final_BTD: Tensor | None = None
    head_VD: Tensor | None = None
    hidden: tuple[Tensor, ...] = ()
    mixer_in: tuple[Tensor, ...] = ()
    mixer_out: tuple[Tensor, ...] = ()
    mlp_out: tuple[Tensor, ...] = ()
    queries: tuple[Tensor, ...] = ()
    keys: tuple[Tensor, ...] = ()
    values: tuple[Tensor, ...] = ()
    log_decay: tuple[Tensor, ...] = ()
    removal: tuple[Tensor, ...] = ()
    rate: tuple[Tensor, ...] = ()
    written: tuple[Tensor, ...] = ()
    final_norm: Callable[[Tensor], Tensor] | None = None

    def vocab(self, tokens: slice) -> Tensor:
        """Logits (n, V) in fp32 of the given tokens, counted over the flattened (B*T) axis.

        Raises ValueError where the pass kept no final hidden states.
        """
        if self.final_BTD is None or self.head_VD is None:
            raise ValueError("this Trace has no logits: capture it with 'vocab' among the needs")
        return F.linear(self.final_BTD.flatten(0, 1)[tokens], self.head_VD).float()


RECURRENCE = frozenset({"log_decay", "removal", "rate", "written"})
"""Needs that only a recurrent student fills; a teacher leaves these fields empty."""

NEEDS = RECURRENCE | {
    "vocab",
    "hidden",
    "mixer_in",
    "mixer_out",
    "mlp_out",
    "queries",
    "keys",
    "values",
}
"""Names that may be asked of a forward pass; 'vocab' fills final_BTD, head_VD and final_norm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One micro-batch of packed windows.

    tokens_BT     input ids (int64)
    labels_BT     the next token of each position (int64), IGNORED_LABEL where none counts
    documents_BT  number of the document that each input token belongs to (int64)
    progress      share of the stage that is done, 0 to 1
    """

    tokens_BT: Tensor
    labels_BT: Tensor
    documents_BT: Tensor
    progress: float = 0.0

    @property
    def mask_BT(self) -> Tensor:
        """True where a position counts in a loss."""
        return self.labels_BT != IGNORED_LABEL

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        return Batch(
            tokens_BT=self.tokens_BT.to(device),
            labels_BT=self.labels_BT.to(device),
            documents_BT=self.documents_BT.to(device),
            progress=self.progress,
        )
