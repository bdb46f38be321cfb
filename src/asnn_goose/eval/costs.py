"""What planes and steps cost: in bits of a weight, or in milliseconds of this machine's engine."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from asnn_goose.eval.random_student import Random, random_model
from asnn_goose.eval.speed import decode_rate
from asnn_goose.infer.engine import Engine

UNITS = ("bits", "ms")


@dataclass(frozen=True, kw_only=True)
class Costs:
    """A linear model: `base`, and `per_weight` of a matrix by rung.

    Raises ValueError unless every rung costs more than the one before.
    """

    unit: str
    base: float
    per_weight: tuple[float, ...]

    def __post_init__(self) -> None:
        for i, (one, other) in enumerate(zip(self.per_weight, self.per_weight[1:], strict=False)):
            if other <= one:
                raise ValueError(
                    f"rung {i + 2} costs no more than rung {i + 1} in {self.unit}: order them "
                    "from cheap to dear, and leave out what costs the same"
                )

    def of(self, weights: int, rung: int) -> float:
        """Of a matrix with so many weights."""
        return weights * self.per_weight[rung]

    def whole(self, parts: Iterable[tuple[int, int]]) -> float:
        """Of a student whose matrices have so many weights at these rungs."""
        return self.base + sum(self.of(weights, rung) for weights, rung in parts)


def bits(rungs: Sequence[Mapping[str, Any]], *, weights: int) -> Costs:
    """Mean bits a weight as the engine reads them: two a plane, sixteen where there is none."""
    each = [2 * rung.get("planes", 0) or 16 for rung in rungs]
    return Costs(unit="bits", base=0.0, per_weight=tuple(one / weights for one in each))


def milliseconds(
    rungs: Sequence[Mapping[str, Any]],
    *,
    sizes: Mapping[str, int],
    weights: int,
    density: float = 0.45,
    tokens: int = 64,
    repeats: int = 5,
) -> Costs:
    """A token's time with random students of these sizes, one for each rung, in turns.

    sizes    of a GooseConfig
    weights  of all matrices that have the rung
    density  share of the spikes that fire: 40 to 52 % in trained students
    """
    engines = [
        Engine(
            random_model(
                sizes,
                Random(planes=rung.get("planes", 0), steps=rung.get("steps", 0), density=density),
            )
        )
        for rung in rungs
    ]
    # In turns, so that a busy minute of the machine meets all of them.
    turns = [[1e3 / decode_rate(e, tokens=tokens) for e in engines] for _ in range(repeats)]
    times = [statistics.median(column) for column in zip(*turns, strict=True)]
    per_weight = tuple((time - times[0]) / weights for time in times)
    return Costs(unit="ms", base=times[0], per_weight=per_weight)
