"""Batches out of examples: whole examples packed side by side, or pairs row beside row."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, final

import numpy as np
import torch
from torch import Tensor

from asnn_goose.data.document import DataError
from asnn_goose.data.examples import Example, Pair
from asnn_goose.trace import IGNORED_LABEL, Batch

OPEN_ROWS = 32
"""Rows that are still filled up at one time: more would leave less room empty and mix less."""

Row = TypeVar("Row")
Given = TypeVar("Given")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """What a window was too short for.

    examples     how many there were; `shortened` those longer than the window
    left_out     those of which no answer is left in it
    tokens       how many there were; `tokens_lost` those cut off or left out
    """

    examples: int
    shortened: int
    left_out: int
    tokens: int
    tokens_lost: int

    def __str__(self) -> str:
        """One sentence for the user."""
        share = self.tokens_lost / max(1, self.tokens)
        return (
            f"{self.shortened} of {self.examples} examples are longer than the window, and "
            f"{self.left_out} are left out, for no answer of theirs is within it: {share:.1%} of "
            "the tokens are not read"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PairBatch:
    """Pairs side by side: row b of `chosen` and row b of `rejected` answer one prompt.

    Every row is one example and holds nothing of another; what is left of it counts in no loss.
    """

    chosen: Batch
    rejected: Batch

    def to(self, device: torch.device) -> PairBatch:
        """The same pairs on another device."""
        return PairBatch(chosen=self.chosen.to(device), rejected=self.rejected.to(device))


class _Rows(ABC, Generic[Row, Given]):
    """Endless batches of rows, permuted anew each epoch by (seed, epoch) alone.

    The rows are one stream over the epochs from which every step takes `batch` for each of `world`
    processes, as `loader.WindowLoader` does it with windows.
    """

    cut: Cut

    def __init__(
        self, *, window: int, batch: int, seed: int, padding: int, rank: int = 0, world: int = 1
    ) -> None:
        for setting, value in (("window", window), ("batch", batch), ("world", world)):
            if value < 1:
                raise ValueError(f"{setting} is {value}, wanted at least 1")
        if not 0 <= rank < world:
            raise ValueError(f"rank is {rank}, wanted 0 to {world - 1} (world is {world})")
        if seed < 0:
            raise ValueError(f"seed is {seed}, wanted 0 or more")
        self.window, self._batch, self._seed, self._padding = window, batch, seed, padding
        self._rank, self._world = rank, world
        self._epoch, self._position = 0, 0
        self._rows: Sequence[Row] | None = None

    @abstractmethod
    def _layout(self, random: np.random.Generator) -> Sequence[Row]:
        """The rows of an epoch, in their order."""

    @abstractmethod
    def _given(self, rows: Sequence[Row], progress: float) -> Given:
        """The batch of some rows."""

    def next(self, progress: float = 0.0) -> Given:
        """The next batch of this process; `progress` is passed on in it."""
        rows = [self._take() for _ in range(self._world * self._batch)]
        return self._given(
            rows[self._rank * self._batch : (self._rank + 1) * self._batch], progress
        )

    def state(self) -> dict[str, int]:
        """Where the stream stands, and what it was made from."""
        return {"epoch": self._epoch, "position": self._position, **self._origin()}

    def restore(self, state: Mapping[str, int]) -> None:
        """Go on where `state` was taken. Raises ValueError where it was made from another text."""
        for setting, value in self._origin().items():
            if state.get(setting) != value:
                raise ValueError(
                    f"the loader's state was taken with {setting} {state.get(setting)}, not "
                    f"{value}: its batches cannot be continued"
                )
        self._epoch, self._position, self._rows = state["epoch"], state["position"], None

    def _origin(self) -> dict[str, int]:
        return {
            "seed": self._seed,
            "window": self.window,
            "examples": self.cut.examples,
            "data_tokens": self.cut.tokens,
        }

    def _take(self) -> Row:
        if self._rows is None:
            self._rows = self._layout(np.random.default_rng([self._seed, self._epoch]))
        if self._position == len(self._rows):
            self._epoch, self._position = self._epoch + 1, 0
            self._rows = self._layout(np.random.default_rng([self._seed, self._epoch]))
        self._position += 1
        return self._rows[self._position - 1]

    def _rows_of(self, rows: Sequence[Sequence[Example]], progress: float) -> Batch:
        """A batch with one row for each list of examples, which must fit into the window."""
        parts = [_row(examples, self.window, self._padding) for examples in rows]
        tokens_BT, labels_BT, documents_BT = (
            torch.stack(part) for part in zip(*parts, strict=True)
        )
        return Batch(
            tokens_BT=tokens_BT, labels_BT=labels_BT, documents_BT=documents_BT, progress=progress
        )


@final
class ExampleLoader(_Rows[list[Example], Batch]):
    """Rows of whole examples: each is a document of its own, and labels are its answers alone.

    An example that is longer than the window and its last label loses its end. A row is filled up
    with what fits; what is left of it is a document of `padding` that counts in no loss. A model
    that carries a state must be told to begin anew in each document (data.resets), or it will read
    one example as what came before the next.

    cut  what the window was too short for

    Raises ValueError as WindowLoader does, DataError where no example has an answer in the window.
    """

    def __init__(self, examples: Sequence[Example], **settings: Any) -> None:
        super().__init__(**settings)
        shortened = [_shortened(example, self.window) for example in examples]
        # From 1 on: the first token is an input alone, and no label.
        self._examples = [example for example in shortened if example.answer_N[1:].any()]
        self.cut = _cut(examples, self._examples, self.window)
        _check_left(self._examples, self.window)

    def _layout(self, random: np.random.Generator) -> list[list[Example]]:
        order = random.permutation(len(self._examples))
        return packed([self._examples[number] for number in order], self.window)

    def _given(self, rows: Sequence[list[Example]], progress: float) -> Batch:
        return self._rows_of(rows, progress)


@final
class PairLoader(_Rows[Pair, PairBatch]):
    """Rows of one example each, chosen and rejected side by side; else as ExampleLoader.

    A pair is left out where the window leaves nothing of one of its answers, or makes them equal.
    """

    def __init__(self, pairs: Sequence[Pair], **settings: Any) -> None:
        super().__init__(**settings)
        shortened = [
            Pair(
                chosen=_shortened(pair.chosen, self.window),
                rejected=_shortened(pair.rejected, self.window),
            )
            for pair in pairs
        ]
        self._pairs = [pair for pair in shortened if _tells_apart(pair)]
        self.cut = _cut(_both(pairs), _both(self._pairs), self.window)
        _check_left(self._pairs, self.window)

    def _layout(self, random: np.random.Generator) -> list[Pair]:
        return [self._pairs[number] for number in random.permutation(len(self._pairs))]

    def _given(self, rows: Sequence[Pair], progress: float) -> PairBatch:
        return PairBatch(
            chosen=self._rows_of([[pair.chosen] for pair in rows], progress),
            rejected=self._rows_of([[pair.rejected] for pair in rows], progress),
        )


def packed(examples: Sequence[Example], window: int) -> list[list[Example]]:
    """Rows of at most `window` inputs, each example in the first open row that has room for it.

    An example of n tokens takes n - 1 inputs: its last token is a label alone.
    """
    closed: list[list[Example]] = []
    rows: list[tuple[int, list[Example]]] = []
    for example in examples:
        size = len(example) - 1
        place = next((n for n, (room, _) in enumerate(rows) if room >= size), None)
        if place is None:
            rows.append((window - size, [example]))
            if len(rows) > OPEN_ROWS:
                # The oldest row is closed, not the fullest: examples stay near to where the
                # permutation put them.
                closed.append(rows.pop(0)[1])
        else:
            room, members = rows[place]
            members.append(example)
            rows[place] = (room - size, members)
    return closed + [members for _, members in rows]


def _row(examples: Sequence[Example], window: int, padding: int) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, labels and document numbers (T,) of one row."""
    tokens_T = np.full(window, padding, np.int64)
    labels_T = np.full(window, IGNORED_LABEL, np.int64)
    # The rest of a row is a document of its own: padding must not read the last example's state.
    documents_T = np.full(window, len(examples), np.int64)
    start = 0
    for number, example in enumerate(examples):
        stop = start + len(example) - 1
        tokens_T[start:stop] = example.ids_N[:-1]
        counts = example.answer_N[1:]
        labels_T[start:stop] = np.where(counts, example.ids_N[1:], IGNORED_LABEL)
        documents_T[start:stop] = number
        start = stop
    return torch.from_numpy(tokens_T), torch.from_numpy(labels_T), torch.from_numpy(documents_T)


def _shortened(example: Example, window: int) -> Example:
    kept = window + 1
    if len(example) <= kept:
        return example
    return Example(
        ids_N=example.ids_N[:kept], answer_N=example.answer_N[:kept], place=example.place
    )


def _tells_apart(pair: Pair) -> bool:
    chosen, rejected = pair.chosen, pair.rejected
    answered = chosen.answer_N[1:].any() and rejected.answer_N[1:].any()
    return bool(answered) and not np.array_equal(chosen.ids_N, rejected.ids_N)


def _both(pairs: Sequence[Pair]) -> list[Example]:
    return [example for pair in pairs for example in (pair.chosen, pair.rejected)]


def _cut(before: Sequence[Example], after: Sequence[Example], window: int) -> Cut:
    whole, read = (sum(map(len, examples)) for examples in (before, after))
    return Cut(
        examples=len(before),
        shortened=sum(len(example) > window + 1 for example in before),
        left_out=len(before) - len(after),
        tokens=whole,
        tokens_lost=whole - read,
    )


def _check_left(found: Sequence[object], window: int) -> None:
    if not found:
        raise DataError(
            f"no example has an answer within a window of {window} tokens: raise the window"
        )
