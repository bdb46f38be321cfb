"""Kinds of windows whose text comes again: what a model must copy from its own context to predict.

Every kind makes `length` ids from a `Source` with a generator of its own, so that a window depends
on nothing but its number and its seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ids = NDArray[np.int64]

SHORTEST = 8
"""Tokens between a repeat and what it repeats, at least."""


@dataclass(frozen=True, kw_only=True)
class RepeatSource:
    """What a window is made of.

    random    the window's own generator
    text_N    ids of running text, read from the front and again from there once used up
    words_W   ids to draw single words from, each as likely as another
    distance  tokens between a repeat and what it repeats, at most
    """

    random: np.random.Generator
    text_N: Ids
    words_W: Ids
    distance: int

    def words(self, count: int) -> Ids:
        """Words without sense."""
        drawn: Ids = self.random.choice(self.words_W, count)
        return drawn

    def between(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both possible; `low` where `high` is below it."""
        return int(self.random.integers(low, max(low, high) + 1))

    def reader(self) -> Callable[[int], Ids]:
        """Gives the next tokens of the running text."""
        place = 0

        def read(count: int) -> Ids:
            nonlocal place
            found: Ids = self.text_N.take(range(place, place + count), mode="wrap")
            place += count
            return found

        return read


def random_words(source: RepeatSource) -> Iterator[Ids]:
    """Blocks of words without sense, each of them twice, with words between."""
    return _blocks(source, source.words, source.words)


def paragraphs(source: RepeatSource) -> Iterator[Ids]:
    """Passages of the text, each of them twice, with text between."""
    read = source.reader()
    return _blocks(source, read, read)


def _blocks(
    source: RepeatSource, block: Callable[[int], Ids], between: Callable[[int], Ids]
) -> Iterator[Ids]:
    while True:
        distance = source.between(SHORTEST, source.distance)
        # At least a third of the distance is repeated: shorter ones would leave most of the window
        # unscored as repeats.
        size = source.between(max(SHORTEST // 2, distance // 3), distance)
        first = block(size)
        yield from (first, between(distance - size), first)


def lists(source: RepeatSource) -> Iterator[Ids]:
    """A few phrases of a few words, over and over in any order."""
    while True:
        phrases, size = [], 0
        while size < source.distance // 2:
            phrases.append(source.words(source.between(2, 6)))
            size += len(phrases[-1])
        for _ in range(3):
            yield from (phrases[i] for i in source.random.permutation(len(phrases)))


def names(source: RepeatSource) -> Iterator[Ids]:
    """Running text in which a small cast of names comes again and again."""
    read = source.reader()
    cast = [source.words(source.between(2, 4)) for _ in range(source.between(2, 6))]
    while True:
        yield read(source.between(4, max(4, source.distance // len(cast) // 2)))
        yield cast[source.between(0, len(cast) - 1)]


def pairs(source: RepeatSource) -> Iterator[Ids]:
    """Keys with their values, told in one order and asked in another."""
    # The same two marks in the whole window, for a key must be told from a value by something.
    joint, end = source.words(1), source.words(1)
    while True:
        count = source.between(2, source.distance // 6)
        rows = [
            np.concatenate((source.words(1), joint, source.words(source.between(1, 3)), end))
            for _ in range(count)
        ]
        yield from rows
        yield from (rows[i] for i in source.random.permutation(count))


KINDS: MappingProxyType[str, Callable[[RepeatSource], Iterator[Ids]]] = MappingProxyType(
    {
        "words": random_words,
        "paragraphs": paragraphs,
        "lists": lists,
        "names": names,
        "pairs": pairs,
    }
)


def made(kind: str, source: RepeatSource, *, length: int) -> Ids:
    """`length` ids of a row of KINDS."""
    parts, size = [], 0
    for part in KINDS[kind](source):
        parts.append(part)
        size += len(part)
        if size >= length:
            break
    return np.concatenate(parts)[:length]
