"""Which matrices are ternary and which inputs are spikes: the setting `precision`."""

from __future__ import annotations

import inspect
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from asnn_goose.model.neurons import NEURONS, Neuron
from asnn_goose.model.ternary import TERNARY, TernaryMethod
from asnn_goose.names import check_name, hint
from asnn_goose.ops.hadamard import BLOCK
from asnn_goose.ops.spike_codes import MAX_STEPS

HEAD = "head"
EVERY = "*"


@dataclass(frozen=True, kw_only=True)
class Places:
    """Names that a table of precision may have beside HEAD and EVERY.

    matrices  of blocks; sites: signals of mixers that may spike with no matrix behind them
    """

    matrices: tuple[str, ...]
    sites: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, with HEAD and EVERY."""
        return (*self.matrices, *self.sites, HEAD, EVERY)


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
               reach up to it; `resolve` takes the neuron's own where no place sets one
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
        for setting, right in _TYPES.items():
            _check_type(setting, getattr(self, setting), right)
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
        name, settings = _method(self.ternary)
        return TERNARY[name](rows, columns, planes=self.planes, group=self.group, **settings)

    def spikes(self, columns: int) -> Neuron | None:
        """The neuron of an input with so many columns; None where it stays analogue."""
        if not self.steps:
            return None
        name, settings = _method(self.neuron)
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


def starts_on_a_batch(precision: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What in a table sets trained numbers from its first training batch: settings by name."""
    found = ["sub_norm"] if any(entry.get("sub_norm") for entry in precision.values()) else []
    names = {_method(entry["neuron"])[0] for entry in precision.values() if "neuron" in entry}
    return found + [
        f"neuron = {name!r}" for name in sorted(names) if NEURONS[name].starts_parameters
    ]


def _method(choice: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Name of a method and its own settings."""
    if isinstance(choice, str):
        return choice, {}
    return choice["name"], {key: value for key, value in choice.items() if key != "name"}


def _check_method(setting: str, choice: object, table: Mapping[str, type]) -> None:
    """Raise ValueError for an unknown method, or a setting that it does not have."""
    if isinstance(choice, Mapping) and "name" not in choice:
        raise ValueError(f"{setting} = {dict(choice)}: a table needs a name")
    name, settings = _method(choice)  # type: ignore[arg-type]  # _check_type came first
    check_name(table, name, setting=setting)
    shared = {"planes", "group", "steps", "code", "threshold", "rows", "columns"}
    valid = set(inspect.signature(table[name]).parameters) - shared
    for key in settings:
        if key not in valid:
            raise ValueError(
                f"{setting}.{key}: {name} has no such setting; "
                + hint(key, sorted(valid or {"name"}))
            )


_TYPES: dict[str, type] = {
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


def _check_type(setting: str, value: object, right: type) -> None:
    if setting in _METHODS and isinstance(value, Mapping):
        return
    fits = isinstance(value, int | float if right is float else right)
    if not fits or (isinstance(value, bool) and right is not bool):
        words = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}
        raise ValueError(f"{setting} = {value!r}: must be {words[right]}")


def resolve(
    precision: Mapping[str, Mapping[str, Any]] | None,
    name: str,
    *,
    layer: int | None = None,
    site: bool = False,
) -> Precision:
    """Precision of the matrix `name` in block `layer`, field by field.

    `*` < `name` < `layer.*` < `layer.name`; the head's input takes only what stands under `head`,
    and a `site`, a signal of a mixer with no matrix behind it, only what stands under its own name.

    >>> table = {"*": {"planes": 2, "steps": 3}, "down": {"steps": 4}, "7.*": {"planes": 1}}
    >>> found = resolve(table, "down", layer=7)
    >>> found.planes, found.steps
    (1, 4)
    """
    places = [EVERY, name, f"{layer}.{EVERY}", f"{layer}.{name}"]
    if name == HEAD:
        places = [HEAD]
    elif site:
        places = [name, f"{layer}.{name}"]
    found: dict[str, Any] = {}
    for place in places:
        found |= (precision or {}).get(place, {})
    found.setdefault("threshold", _usual_threshold(found.get("neuron")))
    try:
        return Precision(**found)
    except ValueError as error:
        where = name if layer is None else f"{layer}.{name}"
        raise ValueError(f"precision of {where}: {error}") from error


def _usual_threshold(neuron: object) -> float:
    """What a neuron, by name or table, takes for a threshold that no place sets."""
    name = neuron.get("name") if isinstance(neuron, Mapping) else neuron
    known = NEURONS.get(name) if isinstance(name, str) else None
    return (known or Neuron).usual_threshold


def check_table(precision: object, *, places: Places) -> None:
    """Raise ValueError for a table that is wrong in a model of any shape with these places."""
    if not isinstance(precision, Mapping):
        raise ValueError(f"precision = {precision!r}: must be a table of matrix names")
    for place, entry in precision.items():
        _split(place, places)
        _check_entry(place, entry)
    layers: set[int | None] = {_split(place, places)[0] for place in precision} | {None}
    for layer in layers:
        for name in places.matrices:
            resolve(precision, name, layer=layer)
        for name in places.sites:
            if _more_than_spikes(resolve(precision, name, layer=layer, site=True)):
                raise ValueError(
                    f"precision.{name}: a signal has spikes, no planes, no basis and no norm"
                )
    if _more_than_spikes(resolve(precision, HEAD)):
        raise ValueError(
            "precision.head: its input may spike, its weights are trained dense; set theirs at "
            "export (--head)"
        )


def _more_than_spikes(found: Precision) -> bool:
    return bool(found.planes or found.rotate or found.sub_norm)


def check_fit(
    precision: Mapping[str, Mapping[str, Any]],
    *,
    columns: Mapping[str, int],
    sites: Collection[str],
    layers: int,
) -> None:
    """Raise ValueError where a table names a matrix, site or layer that the model lacks.

    columns  matrix name -> its number of columns, for every matrix of a block
    sites    of its mixer
    Sizes that rotation or groups do not divide are refused too.
    """
    for place in precision:
        front, _, name = place.rpartition(".")
        if name not in {*columns, *sites, EVERY, HEAD}:
            found = ", ".join((*columns, *sites))
            raise ValueError(f"precision.{place}: this model's blocks have {found}")
        if front and int(front) >= layers:
            raise ValueError(f"precision.{place}: the last of {layers} layers is {layers - 1}")
    for name, count in columns.items():
        for layer in range(layers):
            try:
                resolve(precision, name, layer=layer).check_columns(count)
            except ValueError as error:
                raise ValueError(f"precision of {layer}.{name}: {error}") from error


def _split(place: object, places: Places) -> tuple[int | None, str]:
    """Layer and matrix of a place such as `down`, `12.down` or `12.*`."""
    layer, dot, name = str(place).rpartition(".")
    if not isinstance(place, str) or (name == HEAD and dot) or name not in places.names:
        raise ValueError(f"precision.{place}: no such matrix; {_hint(name, places.names)}")
    if not dot:
        return None, name
    if not (layer.isascii() and layer.isdigit() and str(int(layer[:9])) == layer):
        raise ValueError(f"precision.{place}: {layer!r} must be the number of a layer")
    return int(layer), name


def _check_entry(place: str, entry: object) -> None:
    if not isinstance(entry, Mapping):
        raise ValueError(f"precision.{place} = {entry!r}: must be a table of {', '.join(_TYPES)}")
    for setting, value in entry.items():
        if setting not in _TYPES:
            raise ValueError(
                f"precision.{place}.{setting}: no such setting; {hint(setting, _TYPES)}"
            )
        try:
            _check_type(setting, value, _TYPES[setting])
        except ValueError as error:
            raise ValueError(f"precision.{place}.{error}") from error


def _hint(word: str, names: tuple[str, ...]) -> str:
    told = hint(word, names)
    also = ' A layer goes in front, in quotes: "12.down"'
    return told if told.startswith("did you mean") else f"{told}.{also}"
