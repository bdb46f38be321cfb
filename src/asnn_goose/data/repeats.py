"""Training batches in which a share of the windows is made of repeats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from asnn_goose.data.repeat_kinds import KINDS, RepeatSource, made
from asnn_goose.data.shards import Shard
from asnn_goose.data.stream import check_origin
from asnn_goose.trace import IGNORED_LABEL, Batch

if TYPE_CHECKING:
    from numpy.typing import NDArray

VOCABULARY_TOKENS = 1_000_000
"""Tokens at the front of every text that its words are taken from."""


class WindowStream(Protocol):
    """Endless batches of running text whose position can be saved."""

    def next(self, progress: float = 0.0) -> Batch:
        """The next batch."""

    def state(self) -> dict[str, int]:
        """Where the stream stands."""

    def restore(self, state: Mapping[str, int]) -> None:
        """Go to where `state` was taken."""


@dataclass(frozen=True, kw_only=True)
class Repeats:
    """How many windows are made of repeats, of which kinds, and how far apart.

    share     of the windows, at the start and at the end of the stage; linear between
    distance  tokens between a repeat and what it repeats at most, likewise
    kinds     rows of KINDS, each as likely as another
    alone     whether of such a window only those labels count that stood behind the same word
              before: what else is in it cannot be copied, and says nothing of copying
    """

    share: tuple[float, float] = (0.4, 0.4)
    distance: tuple[int, int] = (256, 256)
    kinds: Sequence[str] = tuple(KINDS)
    alone: bool = False


class RepeatLoader:
    """Batches of another loader, with some windows replaced by repeats.

    What a window becomes depends on the seed, its number in the stream and the stage's progress
    alone, so a restored stream goes on bit for bit. A replaced window is one document; its running
    text is that of the window it replaces, its words are those of the texts, each as likely.
    """

    def __init__(
        self,
        inner: WindowStream,
        repeats: Repeats,
        *,
        words_W: NDArray[np.int64],
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self._inner, self._repeats, self._words_W = inner, repeats, words_W
        self._seed, self._rank, self._world = seed, rank, world
        self._drawn = 0

    def next(self, progress: float = 0.0) -> Batch:
        """The next batch of this process; `progress` (0 to 1) decides share and distance."""
        batch = self._inner.next(progress)
        count = len(batch.tokens_BT)
        first = self._drawn + self._rank * count
        self._drawn += self._world * count
        rows = [self._row(batch, row, first + row) for row in range(count)]
        tokens_BT, labels_BT, documents_BT = (torch.stack(part) for part in zip(*rows, strict=True))
        return Batch(
            tokens_BT=tokens_BT, labels_BT=labels_BT, documents_BT=documents_BT, progress=progress
        )

    def state(self) -> dict[str, int]:
        """Where both streams stand."""
        return {**self._inner.state(), "windows": self._drawn, "repeats_seed": self._seed}

    def restore(self, state: Mapping[str, int]) -> None:
        """Go on where `state` was taken. Raises ValueError where it is of another stream."""
        check_origin(state, {"repeats_seed": self._seed})
        self._inner.restore(state)
        self._drawn = state["windows"]

    def _row(self, batch: Batch, row: int, number: int) -> tuple[torch.Tensor, ...]:
        """Ids, labels and documents (T) of a window."""
        text_N = torch.cat((batch.tokens_BT[row], batch.labels_BT[row, -1:]))
        documents_T = batch.documents_BT[row]
        random = np.random.default_rng([self._seed, number])
        if random.random() >= _between(self._repeats.share, batch.progress):
            return batch.tokens_BT[row], batch.labels_BT[row], documents_T
        source = RepeatSource(
            random=random,
            text_N=text_N.numpy(),
            words_W=self._words_W,
            distance=round(_between(self._repeats.distance, batch.progress)),
        )
        kinds = self._repeats.kinds
        ids_N = made(kinds[int(random.integers(len(kinds)))], source, length=len(text_N))
        labels_T = torch.from_numpy(ids_N[1:])
        # A window without a single repeat counts whole: a loss over no token would be none.
        if self._repeats.alone and (again_T := repeated(ids_N)).any():
            labels_T = labels_T.masked_fill(torch.from_numpy(~again_T), IGNORED_LABEL)
        document_T = torch.full_like(documents_T, int(documents_T[0]))
        return torch.from_numpy(ids_N[:-1]), labels_T, document_T


def repeated(ids_N: NDArray[np.int64]) -> NDArray[np.bool_]:
    """For every id but the first, whether it stood behind the same one before (N - 1)."""
    pairs_T2 = np.stack((ids_N[:-1], ids_N[1:]), axis=1)
    _, first = np.unique(pairs_T2, axis=0, return_index=True)
    found_T = np.ones(len(pairs_T2), bool)
    found_T[first] = False
    return found_T


def vocabulary(shards: Sequence[Shard]) -> NDArray[np.int64]:
    """Ids that the texts are made of, in order, without those that only end documents."""
    found = [np.unique(shard.tokens_N[:VOCABULARY_TOKENS]) for shard in shards]
    ends = [shard.meta.separator for shard in shards]
    return np.setdiff1d(np.concatenate(found), ends).astype(np.int64)


def _between(ends: tuple[float, float], progress: float) -> float:
    return ends[0] + (ends[1] - ends[0]) * progress
