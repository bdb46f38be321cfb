"""How one matrix is ternary and its input spikes; a whole student's is `precision_table`."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from asnn_goose.model.neurons import NEURONS, RENAMED, Neuron
from asnn_goose.model.ternary import TERNARY, TernaryMethod
from asnn_goose.names import check_name, hint
from asnn_goose.ops.hadamard import BLOCK
from asnn_goose.ops.spike_codes import MAX_STEPS


@dataclass(frozen=True, kw_only=True)
class Precision:
    """How one matrix and its input are coded; the default is neither.

    planes     0: dense weights; 1 or 2: a sum of that many ternary planes
    group      columns that share a weight scale; 0: a whole row
    ternary    how planes come out of dense weights: a row of model.ternary.TERNARY, or a table
               with its `name` and settings
    steps      0: analogue input; else spikes in that many ternary steps
    neuron     how spikes come out of the input: a row of model.neurons.NEURONS, or a table
    code       how steps add up: "rate" (equal), "radix2" or "radix3" (powers of two or three)
    threshold  in multiples of the token's mean magnitude: one step fires above it, more steps
               reach up to it; a table takes the neuron's own where no place sets one
    rotate     the input goes through `ops.hadamard`, and the weights live in that basis
    sub_norm   the input goes through a norm of its own first (sub_norm.py)

    Raises ValueError for values that do not fit together.
    """

    planes: int = 0
    group: int = 0
    ternary: str | Mapping[str, Any] = "absmean"
    steps: int = 0
    neuron: str | Mapping[str, Any] = "mean"
    code: str = "radix3"
    threshold: float = Neuron.usual_threshold
    rotate: bool = False
    sub_norm: bool = False

    def __post_init__(self) -> None:
        for setting, right in TYPES.items():
            check_type(setting, getattr(self, setting), right)
        if self.planes not in (0, 1, 2):
            raise ValueError(f"planes = {self.planes}: must be 0, 1 or 2")
        if self.group < 0 or self.group % BLOCK:
            raise ValueError(f"group = {self.group}: must be 0 or a multiple of {BLOCK}")
        check_name(MAX_STEPS, self.code, setting="code")
        if not 0 <= self.steps <= MAX_STEPS[self.code]:
            raise ValueError(
                f"steps = {self.steps}: must be 0 to {MAX_STEPS[self.code]} for code {self.code!r}"
            )
        if not (math.isfinite(self.threshold) and self.threshold > 0):
            raise ValueError(f"threshold = {self.threshold}: must be above 0")
        _check_method("ternary", self.ternary, TERNARY)
        _check_method("neuron", self.neuron, NEURONS)
        self.weights(BLOCK, self.group or BLOCK)  # methods refuse what they cannot do
        self.spikes(BLOCK)

    def weights(self, rows: int, columns: int) -> TernaryMethod | None:
        """The method that makes a matrix [rows, columns] ternary; None where it stays dense."""
        if not self.planes:
            return None
        name, settings = method_of(self.ternary)
        return TERNARY[name](rows, columns, planes=self.planes, group=self.group, **settings)

    def spikes(self, columns: int) -> Neuron | None:
        """The neuron of an input with so many columns; None where it stays analogue."""
        if not self.steps:
            return None
        name, settings = method_of(self.neuron)
        settings |= {"steps": self.steps, "code": self.code, "threshold": self.threshold}
        return NEURONS[name](columns, **settings)

    @property
    def plain(self) -> bool:
        """True for a dense matrix with an analogue input in its own basis."""
        return not (self.planes or self.steps or self.rotate or self.sub_norm)

    def check_columns(self, columns: int) -> None:
        """Raise ValueError where a matrix with so many columns cannot have this precision."""
        if self.rotate and columns % BLOCK:
            raise ValueError(
                f"rotate = true: needs a multiple of {BLOCK} columns, and here are {columns}"
            )
        if self.planes and self.group and columns % self.group:
            raise ValueError(f"group = {self.group}: must divide the {columns} columns")


def method_of(choice: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Name of a method, by which its table knows it now, and its own settings."""
    if isinstance(choice, str):
        return RENAMED.get(choice, choice), {}
    settings = {key: value for key, value in choice.items() if key != "name"}
    return RENAMED.get(choice["name"], choice["name"]), settings


def _check_method(setting: str, choice: object, table: Mapping[str, type]) -> None:
    """Raise ValueError for an unknown method, or a setting that it does not have."""
    if isinstance(choice, Mapping) and "name" not in choice:
        raise ValueError(f"{setting} = {dict(choice)}: a table needs a name")
    name, settings = method_of(choice)  # type: ignore[arg-type]  # check_type came first
    check_name(table, name, setting=setting)
    shared = {"planes", "group", "steps", "code", "threshold", "rows", "columns"}
    valid = set(inspect.signature(table[name]).parameters) - shared
    for key in settings:
        if key not in valid:
            raise ValueError(
                f"{setting}.{key}: {name} has no such setting; "
                + hint(key, sorted(valid or {"name"}))
            )


TYPES: dict[str, type] = {
    "planes": int,
    "group": int,
    "ternary": str,
    "steps": int,
    "neuron": str,
    "code": str,
    "threshold": float,
    "rotate": bool,
    "sub_norm": bool,
}


_METHODS = ("ternary", "neuron")


def check_type(setting: str, value: object, right: type) -> None:
    """Raise ValueError where a setting is of another type than `right`, or no table of a method."""
    if setting in _METHODS and isinstance(value, Mapping):
        return
    fits = isinstance(value, int | float if right is float else right)
    if not fits or (isinstance(value, bool) and right is not bool):
        words = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}
        raise ValueError(f"{setting} = {value!r}: must be {words[right]}")


def usual_threshold(neuron: object) -> float:
    """What a neuron, by name or table, takes for a threshold that no place sets."""
    name = neuron.get("name") if isinstance(neuron, Mapping) else neuron
    known = NEURONS.get(RENAMED.get(name, name)) if isinstance(name, str) else None
    return (known or Neuron).usual_threshold
