"""A text of any length read in one go: the state is carried, and memory stays as it is.

A model with a reach (a transformer) begins anew, from an empty context, each time it is full.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asnn_goose.eval.copy_probe import Losses
from asnn_goose.eval.perplexity import Score
from asnn_goose.eval.readers.reader import F64, Reader
from asnn_goose.eval.window_errors import Sums, mean_error
from asnn_goose.eval.word_counts import WordTable

EDGES = (0, 64, 256, 1024, 2048, 4096, 8192, 16384, 32768)
"""Ends of the classes of places within a segment; further places make one class more."""

BLOCK = 512
"""Tokens that errors are computed over as one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Streamed:
    """One model on one text.

    by_place  losses by the token's place in its segment: name -> sums
    blocks    sums over BLOCK tokens at a time
    reach     the model's; None: the state was carried through every segment
    """

    score: Score
    by_place: dict[str, Losses]
    blocks: Sums
    reach: int | None
    seconds: float = math.nan

    @property
    def error(self) -> float:
        """Standard error of the mean nats per token."""
        return mean_error([self.blocks])

    def as_dict(self) -> dict[str, Any]:
        """For a JSON file."""
        return asdict(self.score) | {
            "perplexity": self.score.perplexity,
            "word_perplexity": self.score.word_perplexity,
            "bits_per_byte": self.score.bits_per_byte,
            "nats_error": self.error,
            "reach": self.reach,
            "tokens_per_s": self.score.tokens / self.seconds,
            "by_place": {name: part.as_dict() for name, part in self.by_place.items()},
        }


def stream(
    reader: Reader,
    ids: Sequence[int],
    *,
    segment: int | None = None,
    bytes_V: Tensor | None = None,
    words: WordTable | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Streamed:
    """Score every token of a text but the first.

    segment  tokens after which the context is emptied; None: the text is one segment

    Raises ValueError for a text of fewer than two tokens.
    """
    text_N = torch.tensor(ids, dtype=torch.int64)
    if len(text_N) < 2:
        raise ValueError("nothing to score: the text holds fewer than two tokens")
    places, blocks = _Places(), _Blocks()
    for start, end in segments(len(text_N) - 1, segment):
        done = 0
        for part in reader.read(text_N[start : end + 1].tolist()):
            losses_t = part.nats_t
            places.add(losses_t, done)
            blocks.add(losses_t)
            done += len(losses_t)
            progress(len(losses_t))
    everything_N = torch.ones(len(text_N) - 1, dtype=torch.bool)
    score = Score(
        nll_sum=blocks.nats,
        tokens=len(text_N) - 1,
        bytes=0 if bytes_V is None else int(bytes_V[text_N[1:]].sum()),
        words=0 if words is None else words.count(text_N[:-1], text_N[1:], everything_N),
    )
    return Streamed(score=score, by_place=places.found(), blocks=blocks.found(), reach=reader.reach)


def segments(tokens: int, length: int | None) -> Iterator[tuple[int, int]]:
    """Begin and end of every segment.

    >>> list(segments(10, 4))
    [(0, 4), (4, 8), (8, 10)]
    """
    step = length or tokens
    return ((start, min(start + step, tokens)) for start in range(0, tokens, step))


class _Places:
    """Losses by place, added up."""

    def __init__(self) -> None:
        self._sums = {name: Losses() for name in PLACES}

    def add(self, losses_t: F64, first: int) -> None:
        place_t = first + np.arange(len(losses_t))
        for name, (low, high) in PLACES.items():
            held = losses_t[(place_t >= low) & (place_t < high)]
            self._sums[name] += Losses(nll_sum=float(held.sum()), tokens=len(held))

    def found(self) -> dict[str, Losses]:
        return {name: part for name, part in self._sums.items() if part.tokens}


class _Blocks:
    """Losses by BLOCK, of which the last may be shorter."""

    def __init__(self) -> None:
        self._nats: list[float] = [0.0]
        self._tokens: list[int] = [0]
        self.nats = 0.0

    def add(self, losses_t: F64) -> None:
        self.nats += float(losses_t.sum())
        while len(losses_t):
            room = BLOCK - self._tokens[-1]
            if not room:
                self._nats.append(0.0)
                self._tokens.append(0)
                continue
            self._nats[-1] += float(losses_t[:room].sum())
            self._tokens[-1] += len(losses_t[:room])
            losses_t = losses_t[room:]

    def found(self) -> Sums:
        return Sums(1.0, np.array(self._nats), np.array(self._tokens, np.float64))


PLACES: dict[str, tuple[int, float]] = {
    f"{low}-{high - 1}": (low, high) for low, high in pairwise(EDGES)
} | {f"{EDGES[-1]}+": (EDGES[-1], math.inf)}
"""Name of a class of places -> (first, beyond the last)."""
