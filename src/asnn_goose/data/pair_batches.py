"""Batches out of pairs: two answers to one prompt, row beside row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from asnn_goose.data.example_batches import Rows, check_left, cut_of, longest, rows_of, shortened
from asnn_goose.data.examples import Example, Pair
from asnn_goose.data.stream import side_by_side
from asnn_goose.trace import Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class PairBatch:
    """Pairs side by side: row b of `chosen` and row b of `rejected` answer one prompt.

    Every row is one example and holds nothing of another; what is left of it counts in no loss.

    reference_B2  log-probabilities of both answers under the reference; None where it is not known
    """

    chosen: Batch
    rejected: Batch
    reference_B2: Tensor | None = None

    @property
    def both(self) -> Batch:
        """Rows of the chosen answers, then those of the rejected ones."""
        return side_by_side((self.chosen, self.rejected), progress=self.progress)

    @property
    def progress(self) -> float:
        """Share of the stage that is done, 0 to 1."""
        return self.chosen.progress

    def to(self, device: torch.device) -> PairBatch:
        """The same pairs on another device."""
        known = self.reference_B2
        return PairBatch(
            chosen=self.chosen.to(device),
            rejected=self.rejected.to(device),
            reference_B2=None if known is None else known.to(device),
        )


@final
class PairLoader(Rows[int, PairBatch]):
    """Rows of one example each, chosen and rejected side by side; else as ExampleLoader.

    A pair is left out where the window leaves nothing of one of its answers, or makes them equal.

    most          pairs to read of all there are, chosen by the seed; None for all
    pairs         those that are read
    reference_N2  log-probabilities of their answers under the reference, once they are known
    """

    def __init__(self, pairs: Sequence[Pair], *, most: int | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        within = [
            Pair(
                chosen=shortened(pair.chosen, self.window),
                rejected=shortened(pair.rejected, self.window),
            )
            for pair in pairs
        ]
        kept = [pair for pair in within if _tells_apart(pair)]
        check_left(kept, self.window)
        self.cut = cut_of(_both(pairs), _both(kept), self.window)
        order = np.random.default_rng([self._seed, len(kept)]).permutation(len(kept))
        self.pairs = [kept[number] for number in sorted(order[:most])]
        self.reference_N2: Tensor | None = None

    def batch_of(self, numbers: Sequence[int], progress: float) -> PairBatch:
        """The batch of chosen pairs."""
        pairs = [self.pairs[number] for number in numbers]
        length = longest([[side] for side in _both(pairs)])

        def rows(sides: Sequence[Example]) -> Batch:
            alone = [[side] for side in sides]
            return rows_of(alone, length=length, padding=self._padding, progress=progress)

        known = self.reference_N2
        return PairBatch(
            chosen=rows([pair.chosen for pair in pairs]),
            rejected=rows([pair.rejected for pair in pairs]),
            reference_B2=None if known is None else known[list(numbers)],
        )

    def _layout(self, random: np.random.Generator) -> list[int]:
        return [int(number) for number in random.permutation(len(self.pairs))]

    def _given(self, rows: Sequence[int], progress: float) -> PairBatch:
        return self.batch_of(rows, progress)


def _tells_apart(pair: Pair) -> bool:
    chosen, rejected = pair.chosen, pair.rejected
    answered = chosen.answer_N[1:].any() and rejected.answer_N[1:].any()
    return bool(answered) and not np.array_equal(chosen.ids_N, rejected.ids_N)


def _both(pairs: Sequence[Pair]) -> list[Example]:
    return [example for pair in pairs for example in (pair.chosen, pair.rejected)]
