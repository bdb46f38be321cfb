"""What a model still knows after how many tokens, in tasks that nothing but memory can solve.

Random words, so that likelihood alone is of no help, and one task in words (passkey):

copy         a run of words comes again whole                  (as in eval/copy_probe.py)
induction    pairs strewn among random words; the first of each comes again, the second is asked
             (Olsson et al. 2022, arXiv 2209.11895)
association  a list of pairs, then the first of each in another order
             (Arora et al. 2023, arXiv 2312.04927)
passkey      five digits, idle sentences, the question
             (Mohtashami and Jaggi 2023, arXiv 2305.16300)

The distance is in tokens, from where something stands to where it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asnn_goose.eval.copy_probe import WORDS
from asnn_goose.eval.readers.reader import Reader
from asnn_goose.eval.tasks.task_scores import standard_error
from asnn_goose.infer.text import Vocabulary

DISTANCES = (64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)

PAIRS, COPIED, APART = 8, 32, 6
"""Pairs of a row, words that are copied, and words from one strewn pair to the next."""

READ, MOST_ROWS, LEAST_ROWS = 4096, 16, 2
"""Tokens that are read for one task at one distance, about, in rows of these numbers."""

KNOWN = 2
"""Words of a copy by which a model can tell that it is one; they are not scored."""


class Row(NamedTuple):
    """A text, and the places of the tokens that only memory can know."""

    ids: list[int]
    asked: list[int]


class Words:
    """Words of a vocabulary to draw from: common ones where it is large, never special ones.

    Raises ValueError for a vocabulary of fewer than 64.
    """

    def __init__(self, vocabulary: Vocabulary, *, seed: int) -> None:
        size = vocabulary.core.get_vocab_size()
        low, high = WORDS if size >= WORDS[1] else (0, size)
        special = {*vocabulary.ends, vocabulary.separator, vocabulary.start}
        self.all = np.array([word for word in range(low, high) if word not in special])
        if len(self.all) < 2 * (2 * PAIRS + COPIED):
            raise ValueError(f"a vocabulary of {size} words: recall needs more to draw from")
        self.draw = np.random.default_rng(seed)

    def apart(self, count: int) -> NDArray[np.int64]:
        """Words of which none is another."""
        return np.asarray(self.draw.choice(self.all, count, replace=False), np.int64)

    def others(self, count: int, than: NDArray[np.int64]) -> list[int]:
        """Words that are none of those, repeats allowed."""
        left = self.all[~np.isin(self.all, than)]
        found: list[int] = self.draw.choice(left, count).tolist()
        return found


def copy_row(words: Words, vocabulary: Vocabulary, distance: int) -> Row:
    """Words, others, the words again."""
    run = words.apart(min(COPIED, distance // 2))
    ids = [*run.tolist(), *words.others(distance - len(run), run), *run.tolist()]
    return Row(ids, list(range(distance + KNOWN, len(ids))))


def association_row(words: Words, vocabulary: Vocabulary, distance: int) -> Row:
    """A list of pairs, others, and the list in another order."""
    held = words.apart(2 * PAIRS).reshape(PAIRS, 2)
    order = words.draw.permutation(PAIRS)
    gap = words.others(distance - held.size, held)
    ids = [*held.ravel().tolist(), *gap, *held[order].ravel().tolist()]
    return Row(ids, list(range(distance + 1, len(ids), 2)))


def induction_row(words: Words, vocabulary: Vocabulary, distance: int) -> Row:
    """Pairs among others, and every pair again, exactly so far on."""
    held = words.apart(2 * PAIRS).reshape(PAIRS, 2)
    span = PAIRS * APART
    ids = words.others(distance + span, held)
    asked = []
    for number, pair in enumerate(held.tolist()):
        place = number * APART
        ids[place : place + 2] = pair
        ids[place + distance : place + distance + 2] = pair
        asked.append(place + distance + 1)
    return Row(ids, asked)


def passkey_row(words: Words, vocabulary: Vocabulary, distance: int) -> Row:
    """Five digits, sentences without meaning, and the question; spaces belong to the digits."""
    key = " ".join(str(digit) for digit in words.draw.integers(0, 10, 5))
    said = vocabulary.ids(f"The pass key is {key}. Remember it: {key} is the pass key.\n")
    idle = vocabulary.ids("The grass is green. The sky is blue. The sun is yellow. Here we go. ")
    asked = vocabulary.ids("\nWhat is the pass key? The pass key is")
    answer = vocabulary.ids(f" {key}")
    start = [vocabulary.separator]
    count = max(1, distance - len(asked))
    gap = (idle * (count // len(idle) + 1))[:count]
    ids = [*start, *said, *gap, *asked, *answer]
    return Row(ids, list(range(len(ids) - len(answer), len(ids))))


TASKS: MappingProxyType[str, Callable[[Words, Vocabulary, int], Row]] = MappingProxyType(
    {
        "copy": copy_row,
        "induction": induction_row,
        "association": association_row,
        "passkey": passkey_row,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalled:
    """One task at one distance.

    right  share of what was asked whose likeliest word was the right one; error over rows
    nats   of what was asked, a word
    """

    task: str
    distance: int
    rows: int
    right: float
    error: float
    nats: float


def rows_at(distance: int) -> int:
    """Rows of one task: fewer where they are long."""
    return max(LEAST_ROWS, min(MOST_ROWS, READ // distance))


def rows_of(task: str, vocabulary: Vocabulary, distance: int, *, seed: int) -> Iterator[Row]:
    """The rows of a task at a distance: the same for every model of one vocabulary."""
    number = list(TASKS).index(task)
    words = Words(vocabulary, seed=(seed * len(TASKS) + number) * DISTANCES[-1] + distance)
    return (TASKS[task](words, vocabulary, distance) for _ in range(rows_at(distance)))


def recall(
    reader: Reader,
    *,
    tasks: Sequence[str] = tuple(TASKS),
    distances: Sequence[int] = DISTANCES,
    seed: int = 0,
    advance: Callable[[int], None] = lambda done: None,
) -> list[Recalled]:
    """Every task at every distance whose rows the model can look back over at once."""
    found = []
    for task in tasks:
        for distance in distances:
            rows = list(rows_of(task, reader.vocabulary, distance, seed=seed))
            if reader.reach is not None and max(len(row.ids) for row in rows) > reader.reach:
                continue
            found.append(_recalled(reader, task, distance, rows, advance))
    return found


def _recalled(
    reader: Reader, task: str, distance: int, rows: Sequence[Row], advance: Callable[[int], None]
) -> Recalled:
    right, nats = [], []
    for row in rows:
        parts = list(reader.read(row.ids))
        places = np.asarray(row.asked) - 1  # the first token of a text is not scored
        right.append(float(np.concatenate([p.likeliest_t for p in parts])[places].mean()))
        nats.append(float(np.concatenate([p.nats_t for p in parts])[places].mean()))
        advance(len(row.ids))
    return Recalled(
        task=task,
        distance=distance,
        rows=len(rows),
        right=float(np.mean(right)),
        error=standard_error(np.asarray(right)),
        nats=float(np.mean(nats)),
    )


def tokens_read(vocabulary: Vocabulary, tasks: Sequence[str], distances: Sequence[int]) -> int:
    """How many tokens `recall` reads at most."""
    return sum(
        rows_at(distance) * len(next(rows_of(task, vocabulary, distance, seed=0)).ids)
        for task in tasks
        for distance in distances
    )


def by_task(found: Sequence[Recalled]) -> Mapping[str, list[Recalled]]:
    """Curves: task -> its distances in order."""
    tasks = dict.fromkeys(row.task for row in found)
    return {task: [row for row in found if row.task == task] for task in tasks}
