"""What every loader has in common: an endless stream, of which each process takes its part."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import torch

from asnn_goose.trace import Batch

Item = TypeVar("Item")
Row = TypeVar("Row")
Given = TypeVar("Given")


@dataclass(frozen=True, kw_only=True)
class Part:
    """What a process takes of a stream in a step: `batch` windows, after those of lower ranks.

    Raises ValueError for settings below what is possible.
    """

    window: int
    batch: int
    seed: int
    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        for setting in ("window", "batch", "world"):
            if (value := getattr(self, setting)) < 1:
                raise ValueError(f"{setting} is {value}, wanted at least 1")
        if not 0 <= self.rank < self.world:
            most = self.world - 1
            raise ValueError(f"rank is {self.rank}, wanted 0 to {most} (world is {self.world})")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}, wanted 0 or more")

    def of(self, take: Callable[[], Item]) -> list[Item]:
        """This process's items of the next step."""
        # All processes walk the same stream and take their part: none can take another's item.
        items = [take() for _ in range(self.world * self.batch)]
        return items[self.rank * self.batch : (self.rank + 1) * self.batch]


class Epochs(ABC, Generic[Row, Given]):
    """Endless batches of rows, permuted anew each epoch by (seed, epoch) alone.

    The rows are one stream over the epochs, from which every step takes `batch` for each of
    `world` processes: processes that share seed and rows get disjoint ones of an epoch.

    settings  those of `Part`
    """

    def __init__(self, **settings: int) -> None:
        self._part = Part(**settings)
        self.window, self._seed = self._part.window, self._part.seed
        self._start_epoch(0)

    @abstractmethod
    def _layout(self, random: np.random.Generator) -> Sequence[Row]:
        """The rows of an epoch."""

    @abstractmethod
    def _given(self, rows: Sequence[Row], progress: float) -> Given:
        """The batch of some rows."""

    @abstractmethod
    def _origin(self) -> dict[str, int]:
        """What the stream is made from."""

    def next(self, progress: float = 0.0) -> Given:
        """The next batch of this process; `progress` is passed on in it."""
        return self._given(self._part.of(self._take), progress)

    def state(self) -> dict[str, int]:
        """Where the stream stands, and what it was made from."""
        return {"epoch": self._epoch, "position": self._position, **self._origin()}

    def restore(self, state: Mapping[str, int]) -> None:
        """Go on where `state` was taken: the next batches are those that would have followed.

        `batch` and `world` may have changed, the stream of rows has not. Raises ValueError where
        it is of another origin.
        """
        check_origin(state, self._origin())
        self._start_epoch(state["epoch"])
        self._position = state["position"]

    def _start_epoch(self, epoch: int) -> None:
        self._rows: Sequence[Row] | None = None
        self._epoch, self._position = epoch, 0

    def _laid_out(self, epoch: int) -> Sequence[Row]:
        # Of seed and epoch alone: a restored stream needs no generator's state, and processes agree
        # unasked.
        return self._layout(np.random.default_rng([self._seed, epoch]))

    def _take(self) -> Row:
        rows = self._laid_out(self._epoch) if self._rows is None else self._rows
        if self._position == len(rows):
            self._start_epoch(self._epoch + 1)
            rows = self._laid_out(self._epoch)
        self._rows, self._position = rows, self._position + 1
        return rows[self._position - 1]


def check_origin(state: Mapping[str, int], origin: Mapping[str, int]) -> None:
    """Raise ValueError where a loader's state was taken of another stream than `origin` tells."""
    for setting, value in origin.items():
        if state.get(setting) != value:
            raise ValueError(
                f"the loader's state was taken with {setting} {state.get(setting)}, not {value}: "
                "its batches cannot be continued"
            )


def side_by_side(batches: Sequence[Batch], *, progress: float) -> Batch:
    """The rows of several batches of one length as one."""
    return Batch(
        tokens_BT=torch.cat([batch.tokens_BT for batch in batches]),
        labels_BT=torch.cat([batch.labels_BT for batch in batches]),
        documents_BT=torch.cat([batch.documents_BT for batch in batches]),
        progress=progress,
    )
