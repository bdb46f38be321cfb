"""Which matrices of a student are ternary and which inputs spike: the setting `precision`.

In comes the table of a recipe or a config.json; out goes the `Precision` of every matrix. No
tensor lives here.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, final

from asnn_goose.model.neurons import NEURONS
from asnn_goose.model.parts.precision import (
    TYPES,
    Precision,
    check_type,
    method_of,
    usual_threshold,
)
from asnn_goose.names import hint

HEAD = "head"
EMBEDDING = "embedding"
EVERY = "*"

OUTSIDE = (EMBEDDING, HEAD)
"""Places outside the blocks: what comes out of the embedding, and what goes into the head."""

BLOCK_SITES = ("mixer_out", "mlp_out")
"""Signals of a block with no matrix behind them: what its halves add to the residual stream."""


@dataclass(frozen=True, kw_only=True)
class Places:
    """Names that a table of precision may have beside OUTSIDE and EVERY.

    matrices  of blocks
    sites     signals of mixers and blocks that may spike with no matrix behind them
    """

    matrices: tuple[str, ...]
    sites: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, with those outside of blocks and EVERY."""
        return (*self.matrices, *self.sites, *OUTSIDE, EVERY)


@final
class PrecisionTable(Mapping[str, Mapping[str, Any]]):
    """Settings of `Precision` by place, field by field: `*`, `down`, `7.*`, `7.down`.

    A value: it never changes, and equal tables are equal and hash alike. It reads as the plain
    mapping that it came from.

    >>> table = PrecisionTable({"*": {"planes": 2, "steps": 3}, "7.*": {"planes": 1}})
    >>> found = table.of("down", layer=7)
    >>> found.planes, found.steps
    (1, 3)
    """

    def __init__(self, entries: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        # Through JSON: what is kept shares nothing with what was given.
        self._text = json.dumps({place: dict(entry) for place, entry in (entries or {}).items()})
        plain: dict[str, dict[str, Any]] = json.loads(self._text)
        self._entries = {place: MappingProxyType(entry) for place, entry in plain.items()}

    def __getitem__(self, place: str) -> Mapping[str, Any]:
        return self._entries[place]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mapping) and self._entries == dict(other)

    def __hash__(self) -> int:
        # The places alone: entries hold tables, which have no hash, and equal tables have equal
        # places.
        return hash(frozenset(self._entries))

    def __repr__(self) -> str:
        return f"PrecisionTable({self._text})"

    def to_json(self) -> dict[str, dict[str, Any]]:
        """Plain values, such as config.json and a recipe hold; a copy."""
        found: dict[str, dict[str, Any]] = json.loads(self._text)
        return found

    def of(self, name: str, *, layer: int | None = None, site: bool = False) -> Precision:
        """Precision of the matrix `name` in block `layer`.

        `*` < `name` < `layer.*` < `layer.name`; places OUTSIDE the blocks take only what stands
        under their own names, and so does a `site`, a signal with no matrix behind it. Raises
        ValueError for values that do not fit together.
        """
        places = [EVERY, name, f"{layer}.{EVERY}", f"{layer}.{name}"]
        # "*" must not reach the head: what everybody means by "every matrix ternary" leaves the
        # output layer dense.
        if name in OUTSIDE:
            places = [name]
        elif site:
            places = [name, f"{layer}.{name}"]
        # Field by field from the general to the particular: "7.down" may set steps alone and still
        # have the planes that "*" gave.
        found: dict[str, Any] = {}
        for place in places:
            found |= self._entries.get(place, {})
        # Last, because it hangs on the neuron that won: LIF counts in units of its membrane, the
        # others in mean magnitudes.
        found.setdefault("threshold", usual_threshold(found.get("neuron")))
        try:
            return Precision(**found)
        except ValueError as error:
            where = name if layer is None else f"{layer}.{name}"
            raise ValueError(f"precision of {where}: {error}") from error

    @property
    def has_planes(self) -> bool:
        """Whether any matrix is ternary."""
        return any(entry.get("planes") for entry in self.values())

    @property
    def starts_on_a_batch(self) -> list[str]:
        """What sets trained numbers from its first training batch: settings by name."""
        found = ["sub_norm"] if any(entry.get("sub_norm") for entry in self.values()) else []
        names = {method_of(entry["neuron"])[0] for entry in self.values() if "neuron" in entry}
        return found + [
            f"neuron = {name!r}" for name in sorted(names) if NEURONS[name].starts_parameters
        ]


def check_table(precision: object, *, places: Places) -> None:
    """Raise ValueError for a table that is wrong in a model of any shape with these places."""
    if not isinstance(precision, Mapping):
        raise ValueError(f"precision = {precision!r}: must be a table of matrix names")
    for place, entry in precision.items():
        _split(place, places)
        _check_entry(place, entry)
    table = PrecisionTable(precision)
    # Each layer that is named, and once no layer: only there do fields of several places come
    # together, and may not fit.
    layers: set[int | None] = {_split(place, places)[0] for place in precision} | {None}
    for layer in layers:
        for name in places.matrices:
            table.of(name, layer=layer)
        for name in places.sites:
            if _more_than_spikes(table.of(name, layer=layer, site=True)):
                raise ValueError(
                    f"precision.{name}: a signal has spikes, no planes, no basis and no norm"
                )
    if _more_than_spikes(table.of(HEAD)):
        raise ValueError(
            "precision.head: its input may spike, its weights are trained dense; set theirs at "
            "export (head = ...)"
        )
    _check_embedding(table.of(EMBEDDING))


def _check_embedding(found: Precision) -> None:
    if _more_than_spikes(found):
        raise ValueError("precision.embedding: its words may be spikes, and no more than that")
    neuron = found.spikes(1)
    if neuron is not None and neuron.stateful:
        raise ValueError(
            "precision.embedding: every word is looked up by itself; take a neuron without state"
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
        if name not in {*columns, *sites, EVERY, *OUTSIDE}:
            found = ", ".join((*columns, *sites))
            raise ValueError(f"precision.{place}: this model's blocks have {found}")
        if front and int(front) >= layers:
            raise ValueError(f"precision.{place}: the last of {layers} layers is {layers - 1}")
    table = PrecisionTable(precision)
    for name, count in columns.items():
        for layer in range(layers):
            try:
                table.of(name, layer=layer).check_columns(count)
            except ValueError as error:
                raise ValueError(f"precision of {layer}.{name}: {error}") from error


def _split(place: object, places: Places) -> tuple[int | None, str]:
    """Layer and matrix of a place such as `down`, `12.down` or `12.*`."""
    layer, dot, name = str(place).rpartition(".")
    if not isinstance(place, str) or (name in OUTSIDE and dot) or name not in places.names:
        raise ValueError(f"precision.{place}: no such matrix; {_hint(name, places.names)}")
    if not dot:
        return None, name
    # "07" and Arabic digits are numbers to int(), but `of` would never look under that name: the
    # setting would be without effect.
    if not (layer.isascii() and layer.isdigit() and str(int(layer[:9])) == layer):
        raise ValueError(f"precision.{place}: {layer!r} must be the number of a layer")
    return int(layer), name


def _check_entry(place: str, entry: object) -> None:
    if not isinstance(entry, Mapping):
        raise ValueError(f"precision.{place} = {entry!r}: must be a table of {', '.join(TYPES)}")
    for setting, value in entry.items():
        if setting not in TYPES:
            raise ValueError(
                f"precision.{place}.{setting}: no such setting; {hint(setting, TYPES)}"
            )
        try:
            check_type(setting, value, TYPES[setting])
        except ValueError as error:
            raise ValueError(f"precision.{place}.{error}") from error


def _hint(word: str, names: tuple[str, ...]) -> str:
    told = hint(word, names)
    also = ' A layer goes in front, in quotes: "12.down"'
    return told if told.startswith("did you mean") else f"{told}.{also}"
