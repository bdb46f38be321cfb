"""What planes and steps cost: in bits of a weight, or in milliseconds of this machine's engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from asnn_goose.eval import speed
from asnn_goose.eval.cost_model import CostModel, Product
from asnn_goose.eval.random_student import Random, random_model
from asnn_goose.infer.engine import Engine

UNITS = ("bits", "ms")

Shape = tuple[int, int]
"""Rows and columns of a matrix."""

Shapes = Sequence[Shape]


@dataclass(frozen=True, kw_only=True)
class Costs:
    """`base`, and what a matrix of a shape costs at each rung."""

    unit: str
    base: float
    rungs: tuple[Callable[[Shape], float], ...]

    def of(self, shapes: Shapes, rung: int) -> float:
        """Of some matrices at one rung."""
        return sum(map(self.rungs[rung], shapes))

    def whole(self, parts: Iterable[tuple[Shapes, int]]) -> float:
        """Of a student whose matrices stand at these rungs."""
        return self.base + sum(self.of(shapes, rung) for shapes, rung in parts)


def _check_rising(each: Sequence[float], unit: str) -> None:
    """Raise ValueError unless every rung costs more than the one before."""
    for i, (one, other) in enumerate(pairwise(each)):
        if other <= one:
            raise ValueError(
                f"rung {i + 2} costs no more than rung {i + 1} in {unit}: order them from cheap to "
                "dear, and leave out what costs the same"
            )


def bits(rungs: Sequence[Mapping[str, Any]], *, weights: int) -> Costs:
    """Mean bits a weight as the engine reads them: two a plane, sixteen where there is none.

    weights  of all matrices together; raises ValueError for rungs that do not rise
    """
    each = [(2 * rung.get("planes", 0) or 16) / weights for rung in rungs]
    _check_rising(each, "bits")
    made = tuple(lambda shape, one=one: shape[0] * shape[1] * one for one in each)
    return Costs(unit="bits", base=0.0, rungs=made)


def milliseconds(
    rungs: Sequence[Mapping[str, Any]],
    *,
    sizes: Mapping[str, int],
    shapes: Shapes,
    model: CostModel,
    density: float = 0.45,
    tokens: int = 64,
    repeats: int = 5,
) -> Costs:
    """A token's time: what the machine's cost model says of matrices, and a student's rest.

    sizes    of a GooseConfig: a random student of them is measured at the first rung, and what its
             matrices do not explain of it is the base
    shapes   of all matrices that are chosen for
    density  share of the spikes that fire: 40 to 52 % in trained students

    Raises ValueError for rungs that do not rise.
    """
    made = tuple(_time_of(rung, model, density) for rung in rungs)
    _check_rising([sum(map(one, shapes)) for one in made], "ms")
    form = {key: rungs[0].get(key, 0) for key in ("planes", "steps")}
    engine = Engine(random_model(sizes, Random(**form, density=density)), threads=1)
    whole = 1e3 / speed.median(lambda: speed.decode_rate(engine, tokens=tokens), repeats=repeats)
    return Costs(unit="ms", base=max(whole - sum(map(made[0], shapes)), 0.0), rungs=made)


def _time_of(rung: Mapping[str, Any], model: CostModel, density: float) -> Callable[[Shape], float]:
    planes, steps = rung.get("planes", 0), rung.get("steps", 0)
    return lambda shape: 1e3 * model.of([Product(*shape, planes, steps, density)])
