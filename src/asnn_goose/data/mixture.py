"""Training batches out of several corpora, each with its own weight."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from asnn_goose.data.document import DataError
from asnn_goose.data.loader import WindowLoader
from asnn_goose.data.shards import Shard
from asnn_goose.data.stream import Part, check_origin, side_by_side
from asnn_goose.trace import Batch

# Of all steps it is the golden one whose points lie most evenly, however many there are.
_STEP = (math.sqrt(5) - 1) / 2
_MILLION = 1_000_000


class MixtureLoader:
    """Endless batches of windows drawn from every corpus in proportion to its weight.

    Corpus number n of the stream is the one whose part of [0, 1), as long as its weight, holds
    the fraction of start + n (sqrt(5) - 1) / 2. These points cover the interval evenly, so at any
    time every corpus is a few windows from its share; `start` comes from the seed.
    Within a corpus the windows are those of a WindowLoader: none comes twice before its epoch is
    over, and the epochs of the corpora are not tied to each other; `fixed` is that loader's. Every
    step takes `batch` windows of the stream for each of `world` processes, so no two share one.

    Raises ValueError as `Part` does, DataError where weights and shards do
    not fit or a shard is shorter than one window and its last label.
    """

    def __init__(
        self,
        shards: Sequence[Shard],
        *,
        weights: Sequence[float],
        fixed: bool = False,
        **settings: int,
    ) -> None:
        self._part = Part(**settings)
        window, seed = self._part.window, self._part.seed
        self._shares = _shares(weights, shards)
        self._loaders = [
            WindowLoader([shard], window=window, batch=1, seed=_own_seed(seed, number), fixed=fixed)
            for number, shard in enumerate(shards)
        ]
        self._first_documents = np.cumsum([0, *(len(shard.starts) for shard in shards)])
        self._seed = seed
        self._start = float(np.random.default_rng(seed).random())
        self._drawn = 0

    def next(self, progress: float = 0.0) -> Batch:
        """The next batch of this process; `progress` is passed on in it."""
        return side_by_side(self._part.of(self._draw), progress=progress)

    def state(self) -> dict[str, int]:
        """Where the stream and every corpus stand, and what they were made from."""
        corpora = {
            f"{number}.{name}": value
            for number, loader in enumerate(self._loaders)
            for name, value in loader.state().items()
        }
        return {"drawn": self._drawn, **corpora, **self._origin()}

    def restore(self, state: Mapping[str, int]) -> None:
        """Go on where `state` was taken: the next windows are those that would have followed.

        `batch` and `world` may have changed. Raises ValueError where seed, window, weights or data
        are not those of the state.
        """
        check_origin(state, self._origin())
        for number, loader in enumerate(self._loaders):
            loader.restore({name: state[f"{number}.{name}"] for name in loader.state()})
        self._drawn = state["drawn"]

    def _origin(self) -> dict[str, int]:
        shares = {
            # As whole numbers: a state is JSON, and must be equal or not.
            f"{number}.weight_in_millionths": round(share * _MILLION)
            for number, share in enumerate(self._shares)
        }
        return {"seed": self._seed, "corpora": len(self._shares), **shares}

    def _draw(self) -> Batch:
        """The next window of the stream, with documents numbered over all corpora."""
        number = evenly(self._shares, self._drawn, start=self._start)
        self._drawn += 1
        window = self._loaders[number].next()
        return replace(
            window, documents_BT=window.documents_BT + int(self._first_documents[number])
        )


def evenly(shares: Sequence[float], number: int, *, start: float = 0.0) -> int:
    """The index whose turn it is in an endless row where each has its share; they add up to 1.

    >>> [evenly([2 / 3, 1 / 3], number) for number in range(9)]
    [0, 0, 0, 1, 0, 0, 1, 0, 1]
    """
    # Drawn at random, a corpus of one percent could stay away for hundreds of windows.
    point = (start + number * _STEP) % 1
    return int(np.searchsorted(np.cumsum(shares)[:-1], point, side="right"))


def _shares(weights: Sequence[float], shards: Sequence[Shard]) -> list[float]:
    if not shards:
        raise DataError("there is no text to load: wanted at least one shard")
    if len(weights) != len(shards):
        raise DataError(f"weights = {list(weights)}: must be one for each of {len(shards)} texts")
    for weight in weights:
        if not (weight > 0 and math.isfinite(weight)):
            raise DataError(f"weight = {weight}: must be above 0; leave the text out instead")
    return [weight / sum(weights) for weight in weights]


def _own_seed(seed: int, number: int) -> int:
    """A seed for each corpus, so that texts of one length are not permuted alike."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
