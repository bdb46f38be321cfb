"""Training batches out of shards: packed windows in an order that a seed fixes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from asnn_goose.data.document import DataError
from asnn_goose.data.shards import Shard
from asnn_goose.trace import Batch

if TYPE_CHECKING:
    from numpy.typing import NDArray


class WindowLoader:
    """Endless batches of windows of `window` inputs and the label of each.

    An epoch cuts every shard into windows from a random offset below `window` and permutes them
    all; both come from (seed, epoch) alone. The order of windows is one stream over the epochs
    from which every step takes `batch` windows for each of `world` processes, so processes that
    share seed and shards get disjoint windows of an epoch. What is left of a shard before the
    offset and after the last whole window is not read in that epoch.

    Windows are packed without padding and take no heed of documents: a recurrent model carries
    its state from the end of one document into the next, and learns to forget at the separator.
    `documents_BT` says where a document begins, for who wants to reset the state there.

    Raises ValueError for settings below what is possible, DataError where a shard is shorter than
    one window and its last label.
    """

    def __init__(
        self,
        shards: Sequence[Shard],
        *,
        window: int,
        batch: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        for setting, value in (("window", window), ("batch", batch), ("world", world)):
            if value < 1:
                raise ValueError(f"{setting} is {value}, wanted at least 1")
        if not 0 <= rank < world:
            raise ValueError(f"rank is {rank}, wanted 0 to {world - 1} (world is {world})")
        if seed < 0:
            raise ValueError(f"seed is {seed}, wanted 0 or more")
        _check_lengths(shards, window)
        self._shards = list(shards)
        self._window, self._batch, self._seed = window, batch, seed
        self._rank, self._world = rank, world
        self._first_documents = np.cumsum([0, *(len(s.starts) for s in shards)])
        self._start_epoch(0)

    def next(self, progress: float = 0.0) -> Batch:
        """The next batch of this process; `progress` is passed on in it."""
        windows = [self._take() for _ in range(self._world * self._batch)]
        mine = windows[self._rank * self._batch : (self._rank + 1) * self._batch]
        ids_BT = torch.from_numpy(np.stack([self._ids(*place) for place in mine]))
        documents_BT = np.stack([self._documents(*place) for place in mine])
        return Batch(
            tokens_BT=ids_BT[:, :-1].contiguous(),
            labels_BT=ids_BT[:, 1:].contiguous(),
            documents_BT=torch.from_numpy(documents_BT),
            progress=progress,
        )

    def state(self) -> dict[str, int]:
        """Where the stream stands, and what it was made from."""
        return {"epoch": self._epoch, "position": self._position, **self._origin()}

    def restore(self, state: Mapping[str, int]) -> None:
        """Go on where `state` was taken: the next batches are those that would have followed.

        `batch` and `world` may have changed, the stream of windows has not. Raises ValueError
        where seed, window or data are not those of the state.
        """
        for setting, value in self._origin().items():
            if state[setting] != value:
                raise ValueError(
                    f"the loader's state was taken with {setting} {state[setting]}, not {value}: "
                    f"its batches cannot be continued"
                )
        self._start_epoch(state["epoch"])
        self._position = state["position"]

    def _origin(self) -> dict[str, int]:
        tokens = sum(len(shard.tokens_N) for shard in self._shards)
        return {"seed": self._seed, "window": self._window, "data_tokens": tokens}

    def _start_epoch(self, epoch: int) -> None:
        """Lay out the windows of an epoch: one row (shard, first token) each, permuted."""
        random = np.random.default_rng([self._seed, epoch])
        rows = []
        for number, shard in enumerate(self._shards):
            spare = len(shard.tokens_N) - self._window
            offset = int(random.integers(min(self._window, spare)))
            starts = np.arange(offset, spare, self._window)
            rows.append(np.stack([np.full_like(starts, number), starts], axis=1))
        self._places: NDArray[np.int64] = random.permutation(np.concatenate(rows))
        self._epoch, self._position = epoch, 0

    def _take(self) -> tuple[int, int]:
        if self._position == len(self._places):
            self._start_epoch(self._epoch + 1)
        number, start = self._places[self._position]
        self._position += 1
        return int(number), int(start)

    def _ids(self, number: int, start: int) -> NDArray[np.int64]:
        ids = self._shards[number].tokens_N[start : start + self._window + 1]
        return np.asarray(ids, np.int64)

    def _documents(self, number: int, start: int) -> NDArray[np.int64]:
        starts = self._shards[number].starts
        places = np.arange(start, start + self._window)
        within = np.searchsorted(starts, places, side="right") - 1
        return np.asarray(within + self._first_documents[number], np.int64)


def _check_lengths(shards: Sequence[Shard], window: int) -> None:
    if not shards:
        raise DataError("there is no text to load: wanted at least one shard")
    for shard in shards:
        if len(shard.tokens_N) <= window:
            raise DataError(
                f"{shard.meta.name} ({shard.meta.split}) has {len(shard.tokens_N)} tokens, but a "
                f"window of {window} needs {window + 1}: shorten the window or give more text"
            )
