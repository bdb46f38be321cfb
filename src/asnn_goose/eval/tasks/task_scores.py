"""Scores of items, their standard errors, and how much of its teacher a student keeps."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asnn_goose.eval.tasks.task_files import TASKS
from asnn_goose.eval.tasks.task_files import TaskError as TaskError


@dataclass(frozen=True, kw_only=True)
class TaskScore:
    """What a model made of a task.

    metric   the name of what `values` hold; `others` holds means of further metrics
    items    places of the items in the task's set, which tell two models' items apart
    values   score of every item, 0 to 1 for accuracies
    chance   mean score of who draws a choice by lot
    answers  the choice taken, or 1 and 0 for "greedy gives it" where there are none
    """

    task: str
    metric: str
    items: tuple[int, ...]
    values: tuple[float, ...]
    chance: float
    answers: tuple[int, ...]
    others: Mapping[str, float]

    @property
    def value(self) -> float:
        """Mean over the items."""
        return float(np.mean(self.values))

    @property
    def error(self) -> float:
        """Standard error of the mean; nan for one item."""
        return standard_error(np.asarray(self.values))

    def as_dict(self) -> dict[str, Any]:
        """For a JSON file: also what every item came to."""
        return {
            "metric": self.metric,
            "items": len(self.items),
            "value": self.value,
            "error": self.error,
            "chance": self.chance,
            "others": dict(self.others),
            "item": list(self.items),
            "item_value": list(self.values),
            "item_answer": list(self.answers),
        }


@dataclass(frozen=True, kw_only=True)
class Relative:
    """(student - chance) / (teacher - chance) with its standard error; same: equal answers."""

    value: float
    error: float
    same: float


def standard_error(values: NDArray[np.float64]) -> float:
    """Sample deviation over the root of the count; nan below two."""
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan


def relative(student: TaskScore, teacher: TaskScore) -> Relative | None:
    """How much of its teacher's distance to chance a student keeps; None for a teacher without.

    The error is that of a ratio of means over the same items (delta method): with
    r = (s - c) / (t - c), the deviation over items of (s_i - r t_i) / (t - c).
    Raises ValueError unless both answered the same items.
    """
    if (student.task, student.items) != (teacher.task, teacher.items):
        raise ValueError(f"{student.task}: student and teacher answered different items")
    distance = teacher.value - teacher.chance
    if distance <= 0:
        return None
    ratio = (student.value - student.chance) / distance
    each = (np.asarray(student.values) - ratio * np.asarray(teacher.values)) / distance
    same = float(np.mean(np.asarray(student.answers) == np.asarray(teacher.answers)))
    return Relative(value=ratio, error=standard_error(each), same=same)


def spread_items(count: int, limit: int | None) -> list[int]:
    """Places of at most `limit` of `count` items, evenly spaced.

    >>> spread_items(10, 3)
    [1, 5, 8]
    """
    wanted = count if limit is None else min(count, limit)
    return [(2 * n + 1) * count // (2 * wanted) for n in range(wanted)]


def scores_of(samples: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[TaskScore]:
    """Scores out of what lm-eval logged: task -> its items."""
    return [_score(task, items) for task, items in samples.items()]


def _score(task: str, items: Sequence[Mapping[str, Any]]) -> TaskScore:
    first_filter = items[0]["filter"]
    items = sorted(
        (item for item in items if item["filter"] == first_filter), key=lambda i: int(i["doc_id"])
    )
    names = [name for name in items[0]["metrics"] if isinstance(items[0][name], int | float)]
    if not names:
        raise TaskError(f"task {task}: its metrics are no numbers of single items; choose another")
    metric = TASKS[task].metric if task in TASKS else names[0]
    means = {name: float(np.mean([item[name] for item in items])) for name in names}
    return TaskScore(
        task=task,
        metric=metric,
        items=tuple(int(item["doc_id"]) for item in items),
        values=tuple(float(item[metric]) for item in items),
        chance=float(np.mean([_chance(item) for item in items])),
        answers=tuple(_answer(item) for item in items),
        others={name: mean for name, mean in means.items() if name != metric},
    )


def _chance(item: Mapping[str, Any]) -> float:
    choices = len(item["arguments"])
    return 1 / choices if choices > 1 else 0.0


def _answer(item: Mapping[str, Any]) -> int:
    """The likeliest choice; a text drawn stands for itself as a number that does not matter."""
    found = item["filtered_resps"]
    if isinstance(found[0], str):
        return zlib.crc32(found[0].encode())
    if len(found) == 1:
        return int(found[0][1])
    return int(np.argmax([logprob for logprob, _ in found]))
