"""What one forward pass leaves behind, and what one training batch carries.

Losses know only these value objects, so a live teacher, a cached teacher and a fake tensor
in a test are interchangeable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORED_LABEL = -100


class Rotation(NamedTuple):
    """How queries and keys are turned by position.

    theta     the rotary base, 0 for not at all
    channels  how many of a head are turned, the first ones; 0 for all
    """

    theta: float = 0.0
    channels: int = 0


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
class Reading:
    """How a teacher of another tokenizer has read the student's text.

    n are the student's positions, B*T; m the teacher's, B*M; -1 stands for none.

    places_n   the teacher's position that has read the same bytes
    spans_n    the span of the text that the next token lies in; spans begin and end where a token
               ends in both streams
    next_m     the teacher's next token
    spans_m    the span that it lies in
    spans      how many spans there are
    """

    places_n: Tensor
    spans_n: Tensor
    next_m: Tensor
    spans_m: Tensor
    spans: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TopWords:
    """The most likely words of n tokens, and what all the others have together.

    ids_nK        their numbers (int64)
    log_p_nK      their log-probabilities at temperature 1
    rest_nG       log of the sum of p^(1/tau) over the other words; -inf where there are none
    temperatures  the G values of tau
    """

    ids_nK: Tensor
    log_p_nK: Tensor
    rest_nG: Tensor
    temperatures: tuple[float, ...]

    def __getitem__(self, tokens: slice) -> TopWords:
        """Those of some of the tokens."""
        return replace(
            self,
            ids_nK=self.ids_nK[tokens],
            log_p_nK=self.log_p_nK[tokens],
            rest_nG=self.rest_nG[tokens],
        )

    def at(self, tau: float) -> tuple[Tensor, Tensor]:
        """Log-probabilities at a temperature: of every word (n,K), and of the rest (n,1).

        Raises ValueError where the rest is not known at that temperature.
        """
        if tau not in self.temperatures:
            known = ", ".join(f"{value:g}" for value in self.temperatures)
            raise ValueError(
                f"temperature = {tau:g}: a cached teacher knows what words beyond its "
                f"{self.ids_nK.shape[1]} have at {known}"
            )
        rest_n1 = self.rest_nG[:, [self.temperatures.index(tau)]]
        log_nK1 = torch.log_softmax(torch.cat((self.log_p_nK / tau, rest_n1), -1), -1)
        return log_nK1[:, :-1], log_nK1[:, -1:]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One forward pass of a teacher or a student; only what was asked for is filled.

    Shapes: B sequences, T tokens, D width, H heads, N head size, V vocabulary, L blocks.

    final_BTD  output of the last norm: what the head multiplies
    head_VD    weight of the head
    hidden     residual stream: the embedding, then the output of every block (L + 1 of B,T,D)
    mixer_in   input of every token mixer or attention, after its norm (L of B,T,D)
    mixer_out  output of every token mixer or attention (L of B,T,D), before a norm of its own
    mlp_out    output of every MLP (L of B,T,D), likewise
    signals    what a mixer computes on its way, by name, per block. Attention gives "queries",
               "keys" and "values" (L of B,T,H,N), and "head_outputs", what each head hands to the
               projection behind it (likewise); what a student's mixer gives, it says itself.
               Keys are in such units that the model's own score of two tokens is q k / sqrt(N)
    embedding_VD the table of word vectors
    final_norm the last norm itself, (...,D) -> (...,D); comes with the logits
    top        instead of logits, of a teacher that was cached: over the flattened (B*T) axis
    window     how the tokens lay
    width, head_size, blocks   D, N and L of the model, with which an empty Trace stands for it too
    rotations  how each block's queries and keys must be turned to be compared as attention compares
               them; empty where they are so already
    reading    how a teacher of another tokenizer has read the text; None for one of the same
    logit_cap  c in logits = c tanh(z / c), 0 for z itself
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
    top: TopWords | None = None
    window: Window = Window()
    width: int = 0
    head_size: int = 0
    blocks: int = 0
    rotations: tuple[Rotation, ...] = ()
    logit_cap: float = 0.0
    reading: Reading | None = None

    def vocab(self, tokens: slice) -> Tensor:
        """Logits (n, V) in fp32 of the given tokens, counted over the flattened (B*T) axis.

        With a `reading` they are the student's tokens, and the logits those of the place that has
        read the same bytes, of any place where there is none. Raises ValueError where the pass kept
        no final hidden states.
        """
        if self.reading is None:
            return self.own_vocab(tokens)
        return self.own_vocab(self.reading.places_n[tokens].clamp_min(0))

    def own_vocab(self, tokens: slice | Tensor) -> Tensor:
        """Logits (n, V) in fp32 of tokens that the model itself has read, a slice or numbers."""
        if self.final_BTD is None or self.head_VD is None:
            raise ValueError("this Trace has no logits: capture it with 'vocab' among the needs")
        # Widened after the product: under autocast it runs in bf16, and losses take their softmax
        # in fp32.
        z_nV = F.linear(self.final_BTD.flatten(0, 1)[tokens], self.head_VD).float()
        return capped(z_nV, self.logit_cap)

    def rotation(self, block: int) -> Rotation:
        """How queries and keys of a block must still be turned."""
        return self.rotations[block] if self.rotations else Rotation()

    def signal(self, name: str) -> tuple[Tensor, ...]:
        """A signal of every block. Raises ValueError where the pass has none of that name."""
        if name not in self.signals:
            raise ValueError(
                f"this Trace has no signal {name!r}: it holds {', '.join(self.signals) or 'none'}"
            )
        return self.signals[name]


def capped(z: Tensor, cap: float) -> Tensor:
    """Logits held between -cap and cap, cap tanh(z / cap); as they are for cap = 0."""
    return cap * torch.tanh(z / cap) if cap else z


PLACES = frozenset({"vocab", "embedding", "hidden", "mixer_in", "mixer_out", "mlp_out"})
"""What every model can be asked for; 'vocab' fills final_BTD, head_VD and final_norm."""

ATTENTION = frozenset({"queries", "keys", "values"})
"""Signals of attention that go into its scores and sums."""

HEAD_OUTPUTS = "head_outputs"
"""The signal behind those sums, and before the output projection."""

NEEDS = PLACES | ATTENTION | {HEAD_OUTPUTS}
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
