"""Prompt in, text out."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from typing import Protocol

from asnn_goose.infer.sampler import Sampling
from asnn_goose.infer.text import Vocabulary
from asnn_goose.meter import measured


class Source(Protocol):
    """Whatever draws tokens: the engine, or a model in PyTorch."""

    @property
    def vocabulary(self) -> Vocabulary:
        """Text to tokens and back."""
        ...

    def draw(
        self, ids: Sequence[int], *, tokens: int, sampling: Sampling, seed: int | None
    ) -> Iterator[int]:
        """Up to `tokens` tokens that continue `ids`, which are at least one."""
        ...


def write(
    source: Source,
    prompt: str,
    *,
    tokens: int,
    sampling: Sampling,
    seed: int | None = None,
    stop: bool = True,
    stops: Sequence[str] = (),
) -> None:
    """Print prompt and continuation on stdout as they come, speed and memory on stderr.

    An empty prompt starts a new document. With `stop` the text ends where the model ends a
    document; it always ends before one of `stops`.
    """
    vocabulary = source.vocabulary
    ids = vocabulary.prompt_ids(prompt)
    drawn = source.draw(ids, tokens=tokens, sampling=sampling, seed=seed)
    if stop:
        drawn = takewhile(lambda token: token not in vocabulary.ends, drawn)
    counted = Counted(drawn)
    print(prompt, end="", flush=True)
    with measured() as reading:
        for piece in vocabulary.until_stop(ids, counted, stops):
            print(piece, end="", flush=True)
    print(flush=True)
    print(
        f"[{counted.count} tokens, {counted.count / reading.seconds:.1f} tokens/s,"
        f" peak memory {reading.peak_bytes / 1e6:.0f} MB]",
        file=sys.stderr,
    )


class Counted:
    """Passes tokens on and counts them."""

    def __init__(self, tokens: Iterable[int]) -> None:
        self._tokens, self.count = iter(tokens), 0

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        token = next(self._tokens)
        self.count += 1
        return token
