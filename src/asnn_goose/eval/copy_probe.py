"""Does a model copy from its own context? Losses by what of a word stood in the window before.

A transformer copies with a head that looks one token back and a later one that looks for the
match (Olsson et al. 2022, arXiv 2209.11895); a recurrent student has to build both. Synthetic
recall predicts how a recurrent model does on real text (Arora et al. 2023, arXiv 2312.04927).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from asnn_goose.eval.perplexity import TraceFn, by_chunk, token_losses
from asnn_goose.trace import IGNORED_LABEL

KINDS = ("new", "word seen", "pair seen")
"""The target stood nowhere in the window before; it did; it did, after the same word as now."""

DISTANCES: MappingProxyType[str, tuple[int, int]] = MappingProxyType(
    {"2-15": (2, 15), "16-63": (16, 63), "64-255": (64, 255), "256+": (256, 10**9)}
)
"""Tokens from a target to the same pair before it, the nearest one."""

REPEATED_WORDS, COPIED_WORDS, COPY_DISTANCE = 120, 64, 256
"""Sizes of the two probes, in words."""

PROBE_ROWS = 4

PROBE_TOKENS = COPY_DISTANCE + COPIED_WORDS
"""What the longer probe has a model read at once."""

WORDS = (1_000, 20_000)
"""Ids that the probes' words are drawn from, the second excluded: common pieces, no specials."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """Summed negative log-likelihood (nats) of some tokens, and how many they are."""

    nll_sum: float = 0.0
    tokens: int = 0

    def __add__(self, other: Losses) -> Losses:
        return Losses(nll_sum=self.nll_sum + other.nll_sum, tokens=self.tokens + other.tokens)

    @property
    def mean(self) -> float | None:
        """Nats a token; None where there is none."""
        return self.nll_sum / self.tokens if self.tokens else None

    def as_dict(self) -> dict[str, Any]:
        """Sum, count and mean."""
        return {"nll_sum": self.nll_sum, "tokens": self.tokens, "mean": self.mean}


@dataclass(frozen=True, slots=True, kw_only=True)
class Copying:
    """What a model made of a text, by KINDS, and of "pair seen" by DISTANCES."""

    by_kind: dict[str, Losses]
    by_distance: dict[str, Losses]

    def as_dict(self) -> dict[str, Any]:
        """For a JSON file."""
        return {
            "by_kind": {name: part.as_dict() for name, part in self.by_kind.items()},
            "by_distance": {name: part.as_dict() for name, part in self.by_distance.items()},
        }


def joined(parts: Sequence[Copying]) -> Copying:
    """Several texts as one: every token counts alike."""

    def sums(rows: Sequence[Mapping[str, Losses]]) -> dict[str, Losses]:
        return {name: sum((row[name] for row in rows), Losses()) for name in rows[0]}

    return Copying(
        by_kind=sums([part.by_kind for part in parts]),
        by_distance=sums([part.by_distance for part in parts]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Probes:
    """What a model made of words without sense.

    repeated_loss  nats a word on the second half of REPEATED_WORDS random words that come twice
    copied_share   of COPIED_WORDS random words that come again COPY_DISTANCE words later, the
                   share whose likeliest word was the right one
    """

    repeated_loss: float
    copied_share: float


class CopyTally:
    """Adds up losses of single tokens by what stood before them in their window."""

    def __init__(self) -> None:
        self._kinds = {name: Losses() for name in KINDS}
        self._distances = {name: Losses() for name in DISTANCES}

    def add(self, tokens_BT: Tensor, labels_BT: Tensor, losses_BT: Tensor) -> None:
        """Count a batch of windows (an `EachBatch` of `perplexity`)."""
        for tokens_T, labels_T, losses_T in zip(tokens_BT, labels_BT, losses_BT, strict=True):
            self._window(tokens_T, labels_T, losses_T)

    def found(self) -> Copying:
        """All that was counted."""
        return Copying(by_kind=dict(self._kinds), by_distance=dict(self._distances))

    def _window(self, tokens_T: Tensor, labels_T: Tensor, losses_T: Tensor) -> None:
        seen_T, back_T = (torch.tensor(part) for part in earlier(tokens_T, labels_T))
        counted_T = labels_T != IGNORED_LABEL
        # Each label in one kind alone: the losses of the kinds add up to the text's.
        kinds = (~seen_T, seen_T & (back_T == 0), back_T > 0)
        for name, where_T in zip(KINDS, kinds, strict=True):
            self._kinds[name] += _summed(losses_T, where_T & counted_T)
        for name, (low, high) in DISTANCES.items():
            where_T = (back_T >= low) & (back_T <= high)
            self._distances[name] += _summed(losses_T, where_T & counted_T)


def earlier(tokens_T: Tensor, labels_T: Tensor) -> tuple[list[bool], list[int]]:
    """For every label of a window: whether it stood before, and how far back its pair did.

    "Before" is anywhere among the tokens up to its own place; its pair is the token at its place
    and it. The distance is that between the two labels, to the nearest pair; 0 where it is new.
    """
    tokens, labels = tokens_T.tolist(), labels_T.tolist()
    words: set[int] = set()
    pairs: dict[tuple[int, int], int] = {}
    seen, back = [], []
    for place, pair in enumerate(zip(tokens, labels, strict=True)):
        # The input at this place counts as seen: the label comes after it.
        words.add(pair[0])
        seen.append(pair[1] in words)
        back.append(place - pairs[pair] if pair in pairs else 0)
        # Overwritten, so that the distance is to the nearest one.
        pairs[pair] = place
    return seen, back


def _summed(losses_T: Tensor, where_T: Tensor) -> Losses:
    kept_n = losses_T[where_T]
    return Losses(nll_sum=float(kept_n.sum()), tokens=kept_n.numel())


def probes(trace: TraceFn, *, vocabulary: int, seed: int = 0) -> Probes:
    """Both probes, PROBE_ROWS rows each, of words drawn from WORDS (all of a small vocabulary).

    The first word of a repeat cannot be known to be one and is not scored.
    """
    # A generator of its own: probes are the same for every model, and draw nothing from a run's.
    draw = torch.Generator().manual_seed(seed)
    low, high = WORDS if vocabulary >= WORDS[1] else (0, vocabulary)
    once = torch.randint(low, high, (PROBE_ROWS, REPEATED_WORDS), generator=draw)
    ids = torch.cat((once, once), dim=1)
    losses_BT = token_losses(trace, ids[:, :-1], ids[:, 1:])
    far = torch.randint(low, high, (PROBE_ROWS, COPY_DISTANCE), generator=draw)
    ids = torch.cat((far, far[:, :COPIED_WORDS]), dim=1)
    hits_BT = by_chunk(
        trace, ids[:, :-1], ids[:, 1:], lambda logits_nV, labels_n: logits_nV.argmax(-1) == labels_n
    )
    return Probes(
        repeated_loss=float(losses_BT[:, REPEATED_WORDS:].mean()),
        copied_share=float(hits_BT[:, COPY_DISTANCE:].float().mean()),
    )
