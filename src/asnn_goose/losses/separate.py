"""Several teachers that do not share their words, as losses see them."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from asnn_goose.trace import Trace


@runtime_checkable
class Separate(Protocol):
    """A Trace of several passes, each with its weight; weights sum to 1."""

    parts: tuple[tuple[float, Trace], ...]


def parts_of(teacher: Trace) -> tuple[tuple[float, Trace], ...]:
    """Every teacher's pass and its weight: the pass itself where it is one."""
    return teacher.parts if isinstance(teacher, Separate) else ((1.0, teacher),)
