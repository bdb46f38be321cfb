"""Training batches out of shards: packed windows in an order that a seed fixes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from asnn_goose.data.document import DataError
from asnn_goose.data.shards import Shard
from asnn_goose.trace import Batch

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Pool:
    """Fixed windows of a loader, the first `count` of its epoch 0, that can be put in order.

    order  numbers of the windows, easiest first; None until it is known

    Raises DataError where there is no window.
    """

    def __init__(self, windows: WindowLoader, *, count: int) -> None:
        self.windows, self.window = windows, windows.window
        self.places = windows.first(count)
        self.order: list[int] | None = None
        if not self.places:
            raise DataError("a curriculum's pool has no window: raise pool to at least one window")

    def easiest(self, share: float) -> NDArray[np.int64]:
        """The first `share` (0 to 1) of the ordered windows, at least one: rows (shard, token).

        Raises ValueError where the order is not known yet.
        """
        if self.order is None:
            raise ValueError("the pool has no order yet: rank its windows before they are read")
        kept = self.order[: max(1, math.ceil(share * len(self.order)))]
        return np.array([self.places[number] for number in kept], np.int64)


@dataclass(frozen=True, kw_only=True)
class Subset:
    """The easiest `share` of a pool."""

    pool: Pool
    share: float


class WindowLoader:
    """Endless batches of windows of `window` inputs and the label of each.

    An epoch cuts every shard into windows from a random offset below `window` and permutes them
    all; both come from (seed, epoch) alone. The order of windows is one stream over the epochs
    from which every step takes `batch` windows for each of `world` processes, so processes that
    share seed and shards get disjoint windows of an epoch. What is left of a shard before the
    offset and after the last whole window is not read in that epoch. `fixed` windows begin at the
    first token instead, so that every epoch has the same ones. With a `subset`, an epoch is a
    permutation of its windows, and those are known from the first batch on.

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
        subset: Subset | None = None,
        fixed: bool = False,
    ) -> None:
        for setting, value in (("window", window), ("batch", batch), ("world", world)):
            if value < 1:
                raise ValueError(f"{setting} is {value}, wanted at least 1")
        if not 0 <= rank < world:
            raise ValueError(f"rank is {rank}, wanted 0 to {world - 1} (world is {world})")
        if seed < 0:
            raise ValueError(f"seed is {seed}, wanted 0 or more")
        _check_lengths(shards, window)
        self._shards, self._subset, self._fixed = list(shards), subset, fixed
        self.window, self._batch, self._seed = window, batch, seed
        self._rank, self._world = rank, world
        # Numbers over all shards: two documents of a batch never share one.
        self._first_documents = np.cumsum([0, *(len(s.starts) for s in shards)])
        self._start_epoch(0)

    def next(self, progress: float = 0.0) -> Batch:
        """The next batch of this process; `progress` is passed on in it."""
        windows = [self._take() for _ in range(self._world * self._batch)]
        # All processes walk the same stream and take their part: none can take another's window.
        mine = windows[self._rank * self._batch : (self._rank + 1) * self._batch]
        return self.batch_of(mine, progress)

    def batch_of(self, places: Sequence[tuple[int, int]], progress: float) -> Batch:
        """The batch of chosen windows (shard, first token)."""
        ids_BT = torch.from_numpy(np.stack([self._ids(*place) for place in places]))
        documents_BT = np.stack([self._documents(*place) for place in places])
        return Batch(
            tokens_BT=ids_BT[:, :-1].contiguous(),
            labels_BT=ids_BT[:, 1:].contiguous(),
            documents_BT=torch.from_numpy(documents_BT),
            progress=progress,
        )

    def first(self, count: int) -> list[tuple[int, int]]:
        """The first windows (shard, first token) of epoch 0, fewer where it has fewer."""
        return [(int(shard), int(start)) for shard, start in self._layout(0)[:count]]

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
        origin = {"seed": self._seed, "window": self.window, "data_tokens": tokens}
        return origin | ({} if self._subset is None else {"pool": len(self._subset.pool.places)})

    def _start_epoch(self, epoch: int) -> None:
        self._places: NDArray[np.int64] | None = None
        self._epoch, self._position = epoch, 0

    def _layout(self, epoch: int) -> NDArray[np.int64]:
        """The windows of an epoch: one row (shard, first token) each, permuted."""
        # Of seed and epoch alone: a restored stream needs no generator's state, and processes agree
        # unasked.
        random = np.random.default_rng([self._seed, epoch])
        if self._subset is not None:
            return random.permutation(self._subset.pool.easiest(self._subset.share))
        rows = []
        for number, shard in enumerate(self._shards):
            spare = len(shard.tokens_N) - self.window
            # Another cut in every epoch, so that no token is always the first of its window, where
            # nothing is before it.
            offset = 0 if self._fixed else int(random.integers(min(self.window, spare)))
            starts = np.arange(offset, spare, self.window)
            rows.append(np.stack([np.full_like(starts, number), starts], axis=1))
        return random.permutation(np.concatenate(rows))

    def _take(self) -> tuple[int, int]:
        if self._places is None:
            self._places = self._layout(self._epoch)
        if self._position == len(self._places):
            self._start_epoch(self._epoch + 1)
            self._places = self._layout(self._epoch)
        number, start = self._places[self._position]
        self._position += 1
        return int(number), int(start)

    def _ids(self, number: int, start: int) -> NDArray[np.int64]:
        ids = self._shards[number].tokens_N[start : start + self.window + 1]
        return np.asarray(ids, np.int64)

    def _documents(self, number: int, start: int) -> NDArray[np.int64]:
        starts = self._shards[number].starts
        places = np.arange(start, start + self.window)
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
