"""Training batches out of shards: packed windows in an order that a seed fixes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast, final

import numpy as np
import torch

from asnn_goose.data.document import DataError
from asnn_goose.data.shards import Shard
from asnn_goose.data.stream import Epochs
from asnn_goose.trace import Batch

if TYPE_CHECKING:
    from numpy.typing import NDArray


Place = tuple[int, int]
"""A window: number of its shard, and its first token there."""


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


@final
class WindowLoader(Epochs[Place, Batch]):
    """Endless batches of windows of `window` inputs and the label of each.

    An epoch cuts every shard into windows from a random offset below `window` and permutes them
    all. What is left of a shard before the offset and after the last whole window is not read in
    that epoch. `fixed` windows begin at the first token instead, so that every epoch has the same
    ones. With a `subset`, an epoch is a permutation of its windows, and those are known from the
    first batch on.

    Windows are packed without padding and take no heed of documents: a recurrent model carries
    its state from the end of one document into the next, and learns to forget at the separator.
    `documents_BT` says where a document begins, for who wants to reset the state there.

    Raises ValueError as `Part` does, DataError where a shard is shorter than one window and its
    last label.
    """

    def __init__(
        self,
        shards: Sequence[Shard],
        *,
        subset: Subset | None = None,
        fixed: bool = False,
        **settings: int,
    ) -> None:
        super().__init__(**settings)
        _check_lengths(shards, self.window)
        self._shards, self._subset, self._fixed = list(shards), subset, fixed
        # Numbers over all shards: two documents of a batch never share one.
        self._first_documents = np.cumsum([0, *(len(s.starts) for s in shards)])

    def batch_of(self, places: Sequence[Place], progress: float) -> Batch:
        """The batch of chosen windows."""
        ids_BT = torch.from_numpy(np.stack([self._ids(*place) for place in places]))
        documents_BT = np.stack([self._documents(*place) for place in places])
        return Batch(
            tokens_BT=ids_BT[:, :-1].contiguous(),
            labels_BT=ids_BT[:, 1:].contiguous(),
            documents_BT=torch.from_numpy(documents_BT),
            progress=progress,
        )

    def first(self, count: int) -> list[Place]:
        """The first windows of epoch 0, fewer where it has fewer."""
        return [(int(shard), int(start)) for shard, start in self._laid_out(0)[:count]]

    def _given(self, rows: Sequence[Place], progress: float) -> Batch:
        return self.batch_of(rows, progress)

    def _origin(self) -> dict[str, int]:
        tokens = sum(len(shard.tokens_N) for shard in self._shards)
        origin = {"seed": self._seed, "window": self.window, "data_tokens": tokens}
        return origin | ({} if self._subset is None else {"pool": len(self._subset.pool.places)})

    def _layout(self, random: np.random.Generator) -> Sequence[Place]:
        # An array, and no list of tuples: a large text has millions of windows.
        return cast("Sequence[Place]", random.permutation(self._places(random)))

    def _places(self, random: np.random.Generator) -> NDArray[np.int64]:
        """All windows of an epoch, a row (shard, first token) each."""
        if self._subset is not None:
            return self._subset.pool.easiest(self._subset.share)
        rows = []
        for number, shard in enumerate(self._shards):
            spare = len(shard.tokens_N) - self.window
            # Another cut in every epoch, so that no token is always the first of its window, where
            # nothing is before it.
            offset = 0 if self._fixed else int(random.integers(min(self.window, spare)))
            starts = np.arange(offset, spare, self.window)
            rows.append(np.stack([np.full_like(starts, number), starts], axis=1))
        return np.concatenate(rows)

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
