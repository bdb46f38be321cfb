"""What a model writes by itself: likelihood alone flatters a student of a teacher's likelihoods.

Greedy continuations of held-out text, beside the teacher's: for how many tokens they agree, how
much they repeat themselves (seq-rep-n: Welleck et al. 2019, arXiv 1908.04319) and how varied they
are together (distinct-n: Li et al. 2016, arXiv 1510.03055).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from asnn_goose.eval.readers.reader import Reader, continuations
from asnn_goose.eval.tasks.task_scores import standard_error

GRAMS = (1, 2, 4)
"""Lengths n of the n-grams that are counted."""

PROMPT, DRAWN, PROMPTS = 64, 64, 32
"""Tokens of a prompt, tokens drawn after it, and how many prompts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Two models' continuations: tokens alike from the first on.

    length  mean of them, with its standard error
    whole   share of the continuations that are alike to the end
    """

    length: float
    error: float
    whole: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Variety:
    """`repeated` and `distinct` by n; `length` is the mean number of tokens drawn."""

    repeated: dict[int, float]
    distinct: dict[int, float]
    length: float


def drawn_after(
    reader: Reader,
    prompts: Sequence[Sequence[int]],
    *,
    limit: int = DRAWN,
    batch: int = 16,
    advance: Callable[[int], None] = lambda done: None,
) -> list[list[int]]:
    """Greedy continuations of prompts."""
    found: list[list[int]] = []
    for start in range(0, len(prompts), batch):
        part = prompts[start : start + batch]
        found += continuations(reader, part, limit=limit)
        advance(len(part))
    return found


def agreement(drawn: Sequence[Sequence[int]], wanted: Sequence[Sequence[int]]) -> Agreement:
    """Of continuations of the same prompts. Raises ValueError for none, or unlike numbers."""
    if len(drawn) != len(wanted) or not drawn:
        raise ValueError(f"{len(drawn)} continuations beside {len(wanted)}: must be as many")
    lengths = np.array([alike(a, b) for a, b in zip(drawn, wanted, strict=True)], np.float64)
    whole = [list(a) == list(b) for a, b in zip(drawn, wanted, strict=True)]
    return Agreement(
        length=float(lengths.mean()), error=standard_error(lengths), whole=float(np.mean(whole))
    )


def alike(one: Sequence[int], other: Sequence[int]) -> int:
    """Tokens that two texts begin with alike.

    >>> alike([5, 6, 7], [5, 6, 9, 7])
    2
    """
    unlike = (n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(unlike, min(len(one), len(other)))


def variety(drawn: Sequence[Sequence[int]]) -> Variety:
    """Of all continuations; what is too short to hold an n-gram counts for none of length n."""
    return Variety(
        repeated={n: repeated(drawn, n) for n in GRAMS},
        distinct={n: distinct(drawn, n) for n in GRAMS},
        length=float(np.mean([len(text) for text in drawn])) if drawn else 0.0,
    )


def repeated(drawn: Sequence[Sequence[int]], n: int) -> float:
    """Mean over texts of 1 - distinct n-grams / n-grams; 0 where no text holds one."""
    rates = [1 - len(set(grams(text, n))) / (len(text) - n + 1) for text in drawn if len(text) >= n]
    return float(np.mean(rates)) if rates else 0.0


def distinct(drawn: Sequence[Sequence[int]], n: int) -> float:
    """Distinct n-grams over n-grams of all texts together; 0 where there is none."""
    found = [gram for text in drawn for gram in grams(text, n)]
    return len(set(found)) / len(found) if found else 0.0


def grams(text: Sequence[int], n: int) -> Iterator[tuple[Any, ...]]:
    """The n-grams of a text."""
    return zip(*(text[start:] for start in range(n)), strict=False)
