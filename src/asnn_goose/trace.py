"""What one forward pass leaves behind, and what one training batch carries.

Losses know only these value objects, so a live teacher, a cached teacher and a fake tensor
in a test are interchangeable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORED_LABEL = -100


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """How tokens (B,T) lie in their texts; with nothing set, as one text each from its beginning.

    mask_BT       False where a position is padding on the left: it leaves every state alone
    position_BT   place of every token in its text; counted from 0 in each document where not given
    documents_BT  number of every token's document: each begins with an empty state, and no token
                  sees another document; None where a window is one text
    copies        so many neighbouring rows are inner steps of one sequence
    """

    mask_BT: Tensor | None = None
    position_BT: Tensor | None = None
    documents_BT: Tensor | None = None
    copies: int = 1


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
    signals    what a mixer computes on its way, by name, per block. Attention gives "queries",
               "keys" and "values" (L of B,T,H,N); what a student's mixer gives, it says itself.
               Keys are in such units that the model's own score of two tokens is q k / sqrt(N)
    embedding_VD the table of word vectors
    final_norm the last norm itself, (...,D) -> (...,D); comes with the logits
    window     how the tokens lay
    width, head_size, blocks   D, N and L of the model, with which an empty Trace stands for it too
    rope_theta the rotary base by which queries and keys must be turned to be compared as attention
               compares them; 0 where they are so already
    """

    final_BTD: Tensor | None = None
    head_VD: Tensor | None = None
    hidden: tuple[Tensor, ...] = ()
    mixer_in: tuple[Tensor, ...] = ()
    mixer_out: tuple[Tensor, ...] = ()
    mlp_out: tuple[Tensor, ...] = ()
    signals: Mapping[str, tuple[Tensor, ...]] = field(default_factory=dict)
    embedding_VD: Tensor | None = None
    final_norm: Callable[[Tensor], Tensor] | None = None
    window: Window = Window()
    width: int = 0
    head_size: int = 0
    blocks: int = 0
    rope_theta: float = 0.0

    def vocab(self, tokens: slice) -> Tensor:
        """Logits (n, V) in fp32 of the given tokens, counted over the flattened (B*T) axis.

        Raises ValueError where the pass kept no final hidden states.
        """
        if self.final_BTD is None or self.head_VD is None:
            raise ValueError("this Trace has no logits: capture it with 'vocab' among the needs")
        return F.linear(self.final_BTD.flatten(0, 1)[tokens], self.head_VD).float()

    def signal(self, name: str) -> tuple[Tensor, ...]:
        """A signal of every block. Raises ValueError where the pass has none of that name."""
        if name not in self.signals:
            raise ValueError(
                f"this Trace has no signal {name!r}: it holds {', '.join(self.signals) or 'none'}"
            )
        return self.signals[name]


PLACES = frozenset({"vocab", "embedding", "hidden", "mixer_in", "mixer_out", "mlp_out"})
"""What every model can be asked for; 'vocab' fills final_BTD, head_VD and final_norm."""

ATTENTION = frozenset({"queries", "keys", "values"})
"""Signals of attention."""

NEEDS = PLACES | ATTENTION
"""What a transformer can be asked for. A student gives PLACES and the signals of its mixer."""


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
