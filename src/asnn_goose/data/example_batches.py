"""Batches out of examples: whole examples packed side by side, or one a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from asnn_goose.data.document import DataError
from asnn_goose.data.examples import Example
from asnn_goose.data.stream import Epochs, Given, Row
from asnn_goose.trace import IGNORED_LABEL, Batch

OPEN_ROWS = 32
"""Rows that are still filled up at one time: more would leave less room empty and mix less."""


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


class Rows(Epochs[Row, Given]):
    """Batches of examples.

    cut  what the window was too short for
    """

    cut: Cut

    def __init__(self, *, padding: int, **settings: int) -> None:
        super().__init__(**settings)
        self._padding = padding

    def _origin(self) -> dict[str, int]:
        return {
            "seed": self._seed,
            "window": self.window,
            "examples": self.cut.examples,
            "data_tokens": self.cut.tokens,
        }


@final
class ExampleLoader(Rows[list[Example], Batch]):
    """Rows of whole examples: each is a document of its own, and labels are its answers alone.

    An example that is longer than the window and its last label loses its end. A row is filled up
    with what fits; what is left of it is a document of `padding` that counts in no loss. A model
    that carries a state must be told to begin anew in each document, as stages that read examples
    do, or it will read one example as what came before the next.

    alone  one example a row, and rows no longer than the longest example of their batch

    Raises ValueError as `Part` does, DataError where no example has an answer in the window.
    """

    def __init__(
        self, examples: Sequence[Example], *, alone: bool = False, **settings: Any
    ) -> None:
        super().__init__(**settings)
        self._alone = alone
        within = [shortened(example, self.window) for example in examples]
        # From 1 on: the first token is an input alone, and no label.
        self._examples = [example for example in within if example.answer_N[1:].any()]
        self.cut = cut_of(examples, self._examples, self.window)
        check_left(self._examples, self.window)

    def _layout(self, random: np.random.Generator) -> list[list[Example]]:
        examples = [self._examples[n] for n in random.permutation(len(self._examples))]
        return [[one] for one in examples] if self._alone else packed(examples, self.window)

    def _given(self, rows: Sequence[list[Example]], progress: float) -> Batch:
        length = longest(rows) if self._alone else self.window
        return rows_of(rows, length=length, padding=self._padding, progress=progress)


def rows_of(
    rows: Sequence[Sequence[Example]], *, length: int, padding: int, progress: float
) -> Batch:
    """A batch (B, length) with a row for each list of examples, all of which must fit into it."""
    parts = [_row(examples, length, padding) for examples in rows]
    tokens_BT, labels_BT, documents_BT = (torch.stack(part) for part in zip(*parts, strict=True))
    return Batch(
        tokens_BT=tokens_BT, labels_BT=labels_BT, documents_BT=documents_BT, progress=progress
    )


def longest(rows: Sequence[Sequence[Example]]) -> int:
    """Inputs of the longest row."""
    return max(sum(len(example) - 1 for example in row) for row in rows)


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


def shortened(example: Example, window: int) -> Example:
    """An example without what the window and its last label are too short for."""
    kept = window + 1
    if len(example) <= kept:
        return example
    return Example(
        ids_N=example.ids_N[:kept], answer_N=example.answer_N[:kept], place=example.place
    )


def cut_of(before: Sequence[Example], after: Sequence[Example], window: int) -> Cut:
    """What a window was too short for, from the examples before and after it was applied."""
    whole, read = (sum(map(len, examples)) for examples in (before, after))
    return Cut(
        examples=len(before),
        shortened=sum(len(example) > window + 1 for example in before),
        left_out=len(before) - len(after),
        tokens=whole,
        tokens_lost=whole - read,
    )


def check_left(found: Sequence[object], window: int) -> None:
    """Raise DataError where nothing is left to be read."""
    if not found:
        raise DataError(
            f"no example has an answer within a window of {window} tokens: raise the window"
        )
