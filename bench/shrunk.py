"""A packed student with one of its parts taken to nearly nothing, to see what the part costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asnn_goose.format.packed import PackedModel

Array = NDArray[Any]
Cut = Callable[[str, Array], Array | None]

FEW, RANK = 64, 2
"""Words and MLP channels that are left, and ranks."""
RANKS = {f"{name}_rank": RANK for name in ("decay", "rate", "value", "gate")}


def shrunk(model: PackedModel, part: str) -> PackedModel:
    """A copy with this part small: `head`, `low-rank`, `mlp` or `layers`; `whole` is the model.

    Raises ValueError for columns of an MLP whose scales are those of groups.
    """
    cut, changes = PARTS[part]
    tensors = {name: cut(name, array) for name, array in model.tensors.items()}
    left = {name: np.ascontiguousarray(a) for name, a in tensors.items() if a is not None}
    matrices = {name: m for name, m in model.matrices.items() if _has(left, name)}
    return replace(model, config=model.config | changes, tensors=left, matrices=matrices)


def _has(tensors: Mapping[str, Array], name: str) -> bool:
    return any(tensor.startswith(f"{name}.") for tensor in tensors)


def rows(end: str, array: Array, count: int) -> Array:
    """The first rows of what a matrix is kept in."""
    if end == "planes":
        return array[:, : -(-count // 64)]
    return array[..., :count] if end == "scale" else array[:count]


def columns(end: str, array: Array, count: int) -> Array:
    """The first columns, likewise."""
    if end == "planes":
        return array[:, :, :count]
    if end == "groups":
        return array[:, : -(-count // 64)]
    if end == "scale" and array.ndim == 3 and array.shape[1] > 1:
        raise ValueError("scales of groups of columns: not cut here")
    if end == "weight":
        return array[:, : count // 2 if array.dtype == np.uint8 else count]
    return array


def _head(name: str, array: Array) -> Array:
    place, _, end = name.rpartition(".")
    return rows(end, array, FEW) if place in {"embedding", "lm_head"} else array


def _low_rank(name: str, array: Array) -> Array:
    place, _, end = name.rpartition(".")
    if end not in {"weight", "scale", "groups"}:
        return array
    if place.endswith(".down") and ".mixer." in place:
        return rows(end, array, RANK)
    return columns(end, array, RANK) if place.endswith(".up") and ".mixer." in place else array


def _mlp(name: str, array: Array) -> Array:
    place, _, end = name.rpartition(".")
    if ".mlp." not in place or end in {"threshold", "amplitude", "fires"}:
        return array
    first = place.rpartition(".")[2] in {"gate", "up", "key"}
    if end == "bias":
        return rows(end, array, FEW) if first else array
    return (rows if first else columns)(end, array, FEW)


def _layers(name: str, array: Array) -> Array | None:
    return None if name.startswith("blocks.") and not name.startswith("blocks.0.") else array


PARTS: dict[str, tuple[Cut, dict[str, int]]] = {
    "whole": (lambda _, array: array, {}),
    "head": (_head, {"vocab_size": FEW, "real_vocab_size": 0}),
    "low-rank": (_low_rank, RANKS),
    "mlp": (_mlp, {"intermediate_size": FEW}),
    "layers": (_layers, {"num_hidden_layers": 1}),
}
