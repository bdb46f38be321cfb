"""Whether the tensors of a packed model are those that its configuration asks for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asnn_goose.format.mapped import code
from asnn_goose.format.planes import ROWS, has_sides
from asnn_goose.shape.code_limits import GROUP, MAX_STEPS
from asnn_goose.shape.limits import is_size
from asnn_goose.shape.packed_error import wrong
from asnn_goose.shape.slots import EMBEDDING, POSITIONS, MatrixSlot, SiteSlot, Slot, VectorSlot

PIECE = 1 << 16
"""Elements that are looked at together: few enough to stay in the cache."""

ANALOGUE: dict[str, Any] = {"steps": 0, "code": "radix3", "rotate": False}
"""The entry of a matrix that has none."""

Tensors = Mapping[str, NDArray[Any]]
Expected = Iterator[tuple[str, str, tuple[int, ...]]]


def check_tensors(
    file: Path, tensors: Tensors, matrices: Mapping[str, dict[str, Any]], slots: Iterable[Slot]
) -> None:
    """Names, types, shapes and values of all tensors. Raises PackedError."""
    # Crossed off one by one: what is left over at the end is not known and is refused, not ignored.
    left, unknown = dict(tensors), dict(matrices)
    for slot in slots:
        if isinstance(slot, VectorSlot):
            expected: Expected = iter([(slot.name, "F32", slot.shape)])
        elif isinstance(slot, SiteSlot):
            if slot.name not in unknown:
                continue
            expected = _site(file, slot, unknown.pop(slot.name), tensors)
        elif slot.optional and not _given(slot, tensors):
            continue
        else:
            entry = unknown.pop(slot.name, ANALOGUE) if slot.projection else ANALOGUE
            _check_entry(file, slot, entry)
            expected = _matrix(file, slot, tensors, steps=entry["steps"])
        for name, dtype, shape in expected:
            _check_tensor(file, name, left.pop(name, None), dtype, shape)
    if unknown:
        raise wrong(
            file, f"matrices: {min(unknown)!r}", "there", "a projection or site of this model"
        )
    if left:
        raise wrong(file, f"tensor {min(left)!r}", "there", "left out for this configuration")


def _given(slot: MatrixSlot, tensors: Tensors) -> bool:
    return f"{slot.name}.weight" in tensors or f"{slot.name}.planes" in tensors


def _site(file: Path, slot: SiteSlot, entry: dict[str, Any], tensors: Tensors) -> Expected:
    """What a vector brings that spikes with no matrix behind it."""
    _check_entry(file, slot, entry)
    if not entry["steps"]:
        raise wrong(file, f"matrices: {slot.name!r} steps", 0, "at least 1, for a site")
    if entry["rotate"]:
        raise wrong(file, f"matrices: {slot.name!r} rotate", True, "false, for a site")
    yield from _spikes(slot.name, entry["steps"], tensors)


def _spikes(name: str, steps: int, tensors: Tensors) -> Expected:
    """What spikes are measured by: each token's own magnitude, or one amplitude for all."""
    if steps and f"{name}.amplitude" not in tensors:
        yield f"{name}.threshold", "F32", (1,)
    elif steps:
        yield f"{name}.amplitude", "F32", (1,)
        if steps == 1:
            yield f"{name}.fires", "F32", (1,)


def _check_entry(file: Path, slot: MatrixSlot | SiteSlot, entry: object) -> None:
    """How the input of a matrix, or a site, is coded."""
    what = f"matrices: {slot.name!r}"
    if not isinstance(entry, dict) or set(entry) != {"steps", "code", "rotate"}:
        raise wrong(file, what, entry, "a table of steps, code and rotate")
    if not isinstance(entry["code"], str) or entry["code"] not in MAX_STEPS:
        raise wrong(file, f"{what} code", entry["code"], f"one of {', '.join(MAX_STEPS)}")
    steps, most = entry["steps"], MAX_STEPS[entry["code"]]
    if not is_size(steps) or steps > most:
        raise wrong(file, f"{what} steps", steps, f"0 to {most} for code {entry['code']!r}")
    if not isinstance(entry["rotate"], bool):
        raise wrong(file, f"{what} rotate", entry["rotate"], "true or false")
    if entry["rotate"] and slot.columns % GROUP:
        raise wrong(
            file, f"{what} rotate", True, f"false: {slot.columns} columns are no multiple of 64"
        )


def _matrix(file: Path, slot: MatrixSlot, tensors: Tensors, *, steps: int) -> Expected:
    """Name, type and shape of every tensor of a matrix in the form in which it came."""
    weight, planes = f"{slot.name}.weight", f"{slot.name}.planes"
    bias = slot.bias
    if slot.projection and planes in tensors and weight not in tensors:
        yield from _planes(file, slot, tensors)
        bias = bias or f"{slot.name}.bias" in tensors  # what the ternary method adds
    elif weight in tensors:
        yield from _dense(file, slot, tensors)
    else:
        raise wrong(file, f"tensor {weight!r}", None, "there, for this configuration")
    if bias:
        yield f"{slot.name}.bias", "F32", (slot.rows,)
    yield from _spikes(slot.name, steps, tensors)


LOOKED_UP = {EMBEDDING: ("F16", "I8", "U8"), POSITIONS: ("F16", "I8")}
"""Types of matrices whose rows are looked up."""


def _dense(file: Path, slot: MatrixSlot, tensors: Tensors) -> Expected:
    weight, groups = f"{slot.name}.weight", f"{slot.name}.groups"
    allowed = LOOKED_UP.get(slot.name, ("F16", "F32", "I8", "U8"))
    found, columns = code(tensors[weight]), slot.columns
    if found not in allowed:
        raise wrong(file, f"dtype of tensor {weight!r}", found, " or ".join(allowed))
    if found == "U8" and columns % 2:
        raise wrong(file, f"dtype of tensor {weight!r}", found, f"another for {columns} columns")
    yield weight, found, (slot.rows, columns // 2 if found == "U8" else columns)
    if found in ("I8", "U8"):
        yield f"{slot.name}.scale", "F32", (slot.rows,)
    # Eight bits have groups or a scale for each row; those of a lookup have no groups.
    if found == "U8" or (found == "I8" and groups in tensors and slot.name not in LOOKED_UP):
        yield groups, "U8", (slot.rows, -(-columns // GROUP), 2 if found == "U8" else 1)


def _planes(file: Path, slot: MatrixSlot, tensors: Tensors) -> Expected:
    words, scale = tensors[f"{slot.name}.planes"], tensors.get(f"{slot.name}.scale")
    # Whatever else stands there is refused by its shape, as one plane.
    planes = 2 if words.shape[:1] == (2,) else 1
    yield f"{slot.name}.planes", "U64", (planes, -(-slot.rows // ROWS), slot.columns, 2)
    _check_bits(file, f"{slot.name}.planes", words, rows=slot.rows)
    groups = 1 if scale is None or scale.ndim != 3 else scale.shape[1]
    if groups > 1 and slot.columns % (groups * GROUP):
        raise wrong(
            file, f"groups of {slot.name}.scale", groups, f"1 or parts of {slot.columns} by 64s"
        )
    scales = 2 if scale is not None and has_sides(words, scale) else planes
    yield f"{slot.name}.scale", "F32", (scales, groups, slot.rows)


def _check_tensor(
    file: Path, name: str, array: NDArray[Any] | None, dtype: str, shape: tuple[int, ...]
) -> None:
    if array is None:
        raise wrong(file, f"tensor {name!r}", None, f"{dtype} {list(shape)}")
    if code(array) != dtype:
        raise wrong(file, f"dtype of tensor {name!r}", code(array), dtype)
    if array.shape != shape:
        raise wrong(file, f"shape of tensor {name!r}", list(array.shape), str(list(shape)))
    if dtype in _LARGEST:
        _check_numbers(file, name, array, dtype)
    if name.endswith((".threshold", ".amplitude")) and not array[0] > 0:
        raise wrong(file, f"tensor {name!r}", float(array[0]), "above 0")
    if name.endswith(".fires") and not array[0] >= 0:
        raise wrong(file, f"tensor {name!r}", float(array[0]), "at least 0")


_LARGEST: dict[str, tuple[str, int, int]] = {
    "F32": ("<u4", 0x7FFFFFFF, 0x7F7FFFFF),
    "F16": ("<u2", 0x7FFF, 0x7BFF),
    "I8": ("u1", 0xFF, 0xFF),
}
"""Bits of an element as a whole number: its type, all but the sign, and the largest finite one."""


def _check_numbers(file: Path, name: str, array: NDArray[Any], dtype: str) -> None:
    """No infinity, no NaN, and in int8 no -128, which has no positive counterpart."""
    if dtype == "I8":
        if array.min() == -128:
            raise wrong(file, f"the smallest code of tensor {name!r}", -128, "at least -127")
        return
    kind, magnitude, largest = _LARGEST[dtype]
    bits = array.reshape(-1).view(kind)
    scratch = np.empty(min(PIECE, bits.size), bits.dtype)
    for start in range(0, bits.size, PIECE):
        piece = bits[start : start + PIECE]
        # Bits are compared, not numbers: `isfinite` would make a mask as long as the tensor, and
        # this reads every weight at each start.
        np.bitwise_and(piece, bits.dtype.type(magnitude), out=scratch[: piece.size])
        if int(scratch[: piece.size].max()) > largest:
            raise wrong(file, f"a number in tensor {name!r}", "not finite", "finite")


def _check_bits(file: Path, name: str, words: NDArray[Any], *, rows: int) -> None:
    """+1 only where not zero, and nothing below the last row; a wrong shape is told elsewhere."""
    if words.ndim != 4 or words.shape[-1] != 2 or code(words) != "U64":
        return
    pairs = words.reshape(-1, 2)
    for start in range(0, len(pairs), PIECE):
        piece = pairs[start : start + PIECE]
        # The kernels count with both bits: +1 without "not zero" would count once too often.
        if (piece[:, 0] & ~piece[:, 1]).any():
            raise wrong(file, f"a code in tensor {name!r}", "+1 and zero", "one or the other")
    # The last tile of rows is padded; kernels work on whole tiles.
    if rows % ROWS and (words[:, -1] >> np.uint64(rows % ROWS)).any():
        raise wrong(file, f"a code past row {rows} of tensor {name!r}", "set", "zero")
