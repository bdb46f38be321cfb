"""Planes and steps where they are needed: a greedy search under a budget.

Every place starts at the cheapest rung and whatever gains most for what it costs is raised, until
the budget is spent. A gain is measured, and measured anew once other places were raised since, in
the lazy way of Minoux (1978): only the best of the old gains is looked at again, for a gain seldom
grows when others have been had.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from asnn_goose.eval.cost_model import of_this_machine
from asnn_goose.eval.costs import UNITS, Costs, Shape, bits, milliseconds
from asnn_goose.eval.perplexity import LabelledWindow
from asnn_goose.eval.random_student import SHAPES
from asnn_goose.model import GooseForCausalLM
from asnn_goose.model.assistant import load_student
from asnn_goose.model.goose.config import check_words
from asnn_goose.study.sensitivity import mean_loss, scored_windows

Place = tuple[int, int, str]
"""The first and the last of some neighbouring layers, and a matrix."""

Rung = Mapping[str, Any]
"""Settings of a `Precision`."""


@dataclass(frozen=True, kw_only=True)
class Allocation:
    """What a search found.

    rungs   from cheap to dear; `chosen` says by place which of them it has
    spent   of the budget, in the unit of the costs
    way     (spent, nats per token) before anything was raised, and after each place that was
    """

    rungs: tuple[Rung, ...]
    chosen: Mapping[Place, int]
    unit: str
    budget: float
    spent: float
    way: tuple[tuple[float, float], ...]

    def precision(self) -> dict[str, dict[str, Any]]:
        """The table for a recipe: the rung that most places have at `*`, the others by name."""
        count = [sum(rung == i for rung in self.chosen.values()) for i in range(len(self.rungs))]
        most = count.index(max(count))
        table = {"*": dict(self.rungs[most])}
        for place, rung in self.chosen.items():
            if rung != most:
                table |= _entries(place, self.rungs[rung])
        return table

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "rungs": [dict(rung) for rung in self.rungs],
            "unit": self.unit,
            "budget": self.budget,
            "spent": self.spent,
            "way": [list(point) for point in self.way],
            "precision": self.precision(),
        }


def allocate(
    student: GooseForCausalLM,
    windows: Sequence[LabelledWindow],
    *,
    rungs: Sequence[Rung],
    costs: Costs,
    budget: float,
    names: Sequence[str] | None = None,
    together: int = 1,
    patience: int = 0,
    progress: Callable[[float, float], None] | None = None,
) -> Allocation:
    """Search the precision of every matrix, on text and without training.

    student   keeps its own precision afterwards
    rungs     from cheap to dear, as `costs` has them
    budget    the most that the whole may cost, in the unit of `costs`
    names     matrices to choose for; by default every one of a block
    together  neighbouring layers that have one precision
    patience  how many places may be raised before a gain counts as old: 0 takes no old one
    progress  is told what is spent and the loss, after every place that was raised

    Raises ValueError for settings that do not fit, and where not even the cheapest rung is within
    the budget.
    """
    if together < 1:
        raise ValueError(f"together = {together}: must be at least 1 layer")
    if len(rungs) < 2:
        raise ValueError(f"{len(rungs)} rung(s): there is nothing to choose; give at least two")
    layers, own = student.config.num_hidden_layers, dict(student.config.precision or {})
    rows = [(a, min(a + together, layers) - 1) for a in range(0, layers, together)]
    chosen = names or tuple(student.config.matrix_columns)
    places = [(first, last, name) for first, last in rows for name in chosen]
    search = _Search(
        student=student,
        windows=windows,
        rungs=tuple(rungs),
        costs=costs,
        budget=budget,
        patience=patience,
        own=own,
        at=dict.fromkeys(places, 0),
        shapes={place: shapes_of(student, place) for place in places},
    )
    try:
        return search.run(progress or (lambda spent, loss: None))
    finally:
        # Put back whatever happens: the caller's student is not ours.
        student.set_precision(own)


def allocate_on(
    student: str,
    *,
    rungs: Sequence[Rung],
    unit: str,
    budget: float,
    names: Sequence[str] = (),
    together: int = 1,
    patience: int = 0,
    text: str,
    tokens: int,
    window: int,
    progress: Callable[[float, float], None] | None = None,
) -> Allocation:
    """The allocation of a student by name, on `tokens` of a text as `eval` names it.

    Raises ValueError for settings that do not fit, TeacherError where there is no student,
    DataError for an unknown text.
    """
    if unit not in UNITS:
        raise ValueError(f"unit = {unit!r}: choose {' or '.join(UNITS)}")
    for rung in rungs:
        check_words(dict.fromkeys(names or ("*",), rung))
    windows = scored_windows(student, text=text, tokens=tokens, window=window)
    model = load_student(student)
    layers = model.config.num_hidden_layers
    shapes = [
        shape
        for name in names or model.config.matrix_columns
        for shape in shapes_of(model, (0, layers - 1, name))
    ]
    if unit == "ms":
        sizes = {key: getattr(model.config, key) for key in SHAPES["tiny"]}
        costs = milliseconds(rungs, sizes=sizes, shapes=shapes, model=of_this_machine())
    else:
        costs = bits(rungs, weights=sum(rows * columns for rows, columns in shapes))
    return allocate(
        model,
        windows,
        rungs=rungs,
        costs=costs,
        budget=budget,
        names=names or None,
        together=together,
        patience=patience,
        progress=progress,
    )


def shapes_of(student: GooseForCausalLM, place: Place) -> tuple[Shape, ...]:
    """Rows and columns of a matrix in each of some neighbouring layers."""
    first, last, name = place
    return tuple(
        (matrix.out_features, matrix.in_features)
        for block in student.blocks[first : last + 1]
        for part in (block.mixer, block.mlp)
        for found, matrix in part.matrices().items()
        if found == name
    )


def _entries(place: Place, rung: Rung) -> dict[str, dict[str, Any]]:
    first, last, name = place
    return {f"{layer}.{name}": dict(rung) for layer in range(first, last + 1)}


@dataclass(kw_only=True)
class _Search:
    student: GooseForCausalLM
    windows: Sequence[LabelledWindow]
    rungs: tuple[Rung, ...]
    costs: Costs
    budget: float
    patience: int
    own: dict[str, Any]
    at: dict[Place, int]
    shapes: dict[Place, tuple[Shape, ...]]
    raised: int = 0
    loss: float = 0.0
    order: itertools.count[int] = field(default_factory=itertools.count)

    def run(self, progress: Callable[[float, float], None]) -> Allocation:
        if not self.spent <= self.budget:  # which "nan" is not either
            raise ValueError(
                f"budget = {self.budget:g} {self.costs.unit}: everything at the cheapest rung "
                f"costs {self.spent:.3g}"
            )
        self.loss = self._measured(self.at)
        way = [(self.spent, self.loss)]
        progress(*way[0])
        waiting = [found for place in self.at if (found := self._gain(place))]
        heapq.heapify(waiting)
        while waiting:
            _, _, age, place, loss = heapq.heappop(waiting)
            if self.spent + self._price(place) > self.budget:
                continue  # too dear now, and the budget only shrinks
            if self.raised - age <= self.patience:
                self.at[place] += 1
                self.raised += 1
                # Measured with others at an older rung, where patience allows that.
                self.loss = loss if age == self.raised - 1 else self._measured(self.at)
                way.append((self.spent, self.loss))
                progress(*way[-1])
            if again := self._gain(place):
                heapq.heappush(waiting, again)
        return Allocation(
            rungs=self.rungs,
            chosen=dict(self.at),
            unit=self.costs.unit,
            budget=self.budget,
            spent=self.spent,
            way=tuple(way),
        )

    @property
    def spent(self) -> float:
        return self.costs.whole([(self.shapes[place], rung) for place, rung in self.at.items()])

    def _price(self, place: Place) -> float:
        """What the next rung of a place costs more."""
        rung = self.at[place]
        shapes = self.shapes[place]
        return self.costs.of(shapes, rung + 1) - self.costs.of(shapes, rung)

    def _gain(self, place: Place) -> tuple[float, int, int, Place, float] | None:
        """Nats per unit of cost, negative so that a heap has the best first; None at the top."""
        if self.at[place] + 1 == len(self.rungs):
            return None
        loss = self._measured({**self.at, place: self.at[place] + 1})
        each = (loss - self.loss) / self._price(place)
        return each, next(self.order), self.raised, place, loss

    def _measured(self, at: Mapping[Place, int]) -> float:
        table = dict(self.own)
        for place, rung in at.items():
            table |= _entries(place, self.rungs[rung])
        self.student.set_precision(table)
        return mean_loss(self.student, self.windows)
