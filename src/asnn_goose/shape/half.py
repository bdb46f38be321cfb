"""What the description of a block knows of its two halves, the mixer and the MLP."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from asnn_goose.shape.limits import Fault, Setting
from asnn_goose.shape.slots import MatrixSlot, Slot, StateSlot

Settings = Mapping[str, Any]


def _carries_nothing(settings: Settings) -> tuple[StateSlot, ...]:
    return ()


def _does_nothing_more(settings: Settings) -> tuple[int, int]:
    return 0, 0


def _no_faults(settings: Settings) -> Iterator[Fault]:
    return iter(())


def _says_it_all(settings: Settings) -> dict[str, Any]:
    return {}


@dataclass(frozen=True, kw_only=True)
class Half:
    """A mixer or an MLP, as plain functions of a student's settings.

    slots       (settings, layer) -> its matrices, vectors and sites, named from where it stands
    kept        numbers per token that a backward pass holds, but for the residual stream's
    settings    the settings that are its own, or narrower than for other halves
    state       what it carries from token to token
    recurrence  additions and multiplications per token beside the matrices
    faults      settings that fit each by itself, but not together
    completed   settings left at 0 that follow from others, and what they are then
    engine      whether the engine, and so a packed file, knows it
    """

    slots: Callable[[Settings, int], Iterator[Slot]]
    kept: Callable[[Settings], int]
    settings: Mapping[str, Setting] = field(default_factory=dict)
    state: Callable[[Settings], tuple[StateSlot, ...]] = _carries_nothing
    recurrence: Callable[[Settings], tuple[int, int]] = _does_nothing_more
    faults: Callable[[Settings], Iterator[Fault]] = _no_faults
    completed: Callable[[Settings], dict[str, Any]] = _says_it_all
    engine: bool = False

    def columns(self, settings: Settings) -> dict[str, int]:
        """Columns of every large matrix, by the names that `precision` uses, in their order."""
        slots = self.slots(settings, 0)
        return {s.precision: s.columns for s in slots if isinstance(s, MatrixSlot) and s.projection}
