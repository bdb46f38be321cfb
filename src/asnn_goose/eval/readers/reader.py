"""What measuring asks of a model; PyTorch and the engine give it, each in a file beside this."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from asnn_goose.infer.draw import draw_each
from asnn_goose.infer.sampler import Drawer, Sampling
from asnn_goose.infer.text import Vocabulary

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

Pair = tuple[Sequence[int], Sequence[int]]
"""(context, what follows it): tokens, at least one of each."""

ReadEach = Callable[[list[list[int]]], F32]
"""Reads on in some sequences, each by its own tokens; logits (B,V) after them."""


class Likelihood(NamedTuple):
    """Of a continuation: its log-probability (nats), and whether greedy drawing would give it."""

    logprob: float
    greedy: bool


class Read(NamedTuple):
    """Some tokens of a text: the nats of each, and whether it was the likeliest."""

    nats_t: F64
    likeliest_t: NDArray[np.bool_]


class Reader(Protocol):
    """A model that reads tokens.

    name   as the user calls it
    reach  tokens that it can look back on; None where a state of constant size goes through any
           text
    """

    name: str
    reach: int | None
    vocabulary: Vocabulary

    def score(self, pairs: Sequence[Pair]) -> list[Likelihood]:
        """Every pair by itself, all of them in one batch."""

    def read(self, ids: Sequence[int]) -> Iterator[Read]:
        """Every token of a text but the first, some at a time, in order.

        A model without a reach carries its state through the whole text, in constant memory; one
        with a reach begins anew, from an empty context, each time it is full.
        """

    def batch(self) -> ReadEach:
        """Some sequences that begin with the first call."""


def batches(pairs: Sequence[Pair], *, size: int) -> Iterator[list[int]]:
    """Places of the pairs, `size` at a time: pairs with one context together, short ones first."""
    order = sorted(range(len(pairs)), key=lambda n: (len(pairs[n][0]), tuple(pairs[n][0])))
    return (order[start : start + size] for start in range(0, len(order), size))


def judged(logits_nV: F32, labels_n: Sequence[int]) -> Read:
    """What logits make of the labels that came."""
    labels = np.asarray(labels_n)
    best_n1 = logits_nV.max(axis=-1, keepdims=True)
    totals_n = np.exp((logits_nV - best_n1).astype(np.float64)).sum(axis=-1)
    own_n = np.take_along_axis(logits_nV - best_n1, labels[:, None], axis=-1)[:, 0]
    return Read(np.log(totals_n) - own_n, logits_nV.argmax(axis=-1) == labels)


def continuations(
    reader: Reader,
    prompts: Sequence[Sequence[int]],
    *,
    limit: int,
    sampling: Sampling | None = None,
    seed: int = 0,
    over: Callable[[int, list[int]], bool] = lambda row, drawn: False,
) -> list[list[int]]:
    """Up to `limit` tokens after each prompt, greedy unless told otherwise, all in one batch.

    A continuation ends before a token that ends a text, and after one with which it is `over`.
    """
    sampling = sampling or Sampling(greedy=True)
    drawers = [Drawer(sampling, seed=seed + row) for row in range(len(prompts))]
    found: list[list[int]] = [[] for _ in prompts]
    open_rows, ends = set(range(len(prompts))), reader.vocabulary.ends
    for tokens in islice(draw_each(reader.batch(), prompts, drawers=drawers), limit):
        for row in sorted(open_rows):
            if tokens[row] in ends:
                open_rows.remove(row)
                continue
            found[row].append(tokens[row])
            if over(row, found[row]):
                open_rows.remove(row)
        if not open_rows:
            break
    return found
