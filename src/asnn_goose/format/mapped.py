"""A safetensors file as arrays that share its memory.

The safetensors library copies every tensor; here a file is mapped, so that opening costs no
memory and two processes share one copy. The layout is 8 bytes with the header's length N, N bytes
of JSON, and the data; every array must be aligned to its element size.
"""

from __future__ import annotations

import json
import math
import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asnn_goose.format.json_file import parse_object
from asnn_goose.shape.limits import is_size
from asnn_goose.shape.packed_error import PackedError, wrong

DTYPES = {"U64": "<u8", "F32": "<f4", "F16": "<f2", "I8": "i1", "U8": "u1"}
"""Element types that may stand in a file, from the widest to the narrowest."""

HEADER_BYTES = 8 << 20
DIMENSIONS = 4
ALIGNMENT = 64
"""Where the data of a file that we write begin; widest elements first keeps them all aligned."""


@dataclass(frozen=True, kw_only=True)
class Mapped:
    """An opened file: read-only arrays by name, the header's strings, all data as one array."""

    file: Path
    tensors: dict[str, NDArray[Any]]
    metadata: dict[str, str]
    data: NDArray[np.uint8]


def open_mapped(file: Path) -> Mapped:
    """Map a file and check its header.

    Raises PackedError where anything but a sound safetensors file with the types above is found.
    Nothing is allocated that is larger than a few times the header, which is limited to 8 MiB.
    """
    content = _map(file)
    start = 8 + _header_length(file, content)
    header = parse_object(content[8:start].tobytes(), file=file, what="the header")
    metadata = header.pop("__metadata__", {})
    _check_metadata(file, metadata)
    # A view of the mapping: no byte of a weight is copied or even read here.
    data = content[start:]
    spans = {name: _span(file, name, entry, data.size) for name, entry in header.items()}
    _check_cover(file, {name: span.ends for name, span in spans.items()}, data.size)
    tensors = {name: span.view(data) for name, span in spans.items()}
    for name, array in tensors.items():
        if not array.flags.aligned:
            raise wrong(file, f"the place of tensor {name!r}", spans[name].ends, "aligned")
    return Mapped(file=file, tensors=tensors, metadata=metadata, data=data)


def _map(file: Path) -> NDArray[np.uint8]:
    try:
        with file.open("rb") as stream:
            # Read-only: a stray write would change the file for every process that maps it.
            mapping = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:  # ValueError: an empty file
        raise PackedError(f"{file}: cannot be opened ({error}); export the model again") from error
    return np.frombuffer(mapping, np.uint8)


def _header_length(file: Path, content: NDArray[np.uint8]) -> int:
    if content.size < 8:
        raise wrong(file, "its size", f"{content.size} bytes", "at least 8 bytes")
    length = int.from_bytes(content[:8].tobytes(), "little")
    limit = min(content.size - 8, HEADER_BYTES)
    if length > limit:
        raise wrong(file, "the header's length", length, f"at most {limit}: truncated or foreign")
    return length


def _check_metadata(file: Path, metadata: object) -> None:
    if not isinstance(metadata, dict) or any(not isinstance(v, str) for v in metadata.values()):
        raise wrong(file, "__metadata__", metadata, "a table of strings")


@dataclass(frozen=True, slots=True)
class _Span:
    """Where in the data a tensor lies."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    ends: tuple[int, int]

    def view(self, data: NDArray[np.uint8]) -> NDArray[Any]:
        return data[slice(*self.ends)].view(self.dtype).reshape(self.shape)


def _span(file: Path, name: str, entry: object, size: int) -> _Span:
    what = f"tensor {name!r}"
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise wrong(file, what, entry, "a table of dtype, shape and data_offsets")
    if not isinstance(entry["dtype"], str) or entry["dtype"] not in DTYPES:
        raise wrong(file, f"dtype of {what}", entry["dtype"], f"one of {', '.join(DTYPES)}")
    dtype, shape, ends = np.dtype(DTYPES[entry["dtype"]]), entry["shape"], entry["data_offsets"]
    if not _are_sizes(shape) or len(shape) > DIMENSIONS or 0 in shape:
        raise wrong(file, f"shape of {what}", shape, f"up to {DIMENSIONS} numbers above 0")
    if not _are_sizes(ends) or len(ends) != 2 or not ends[0] <= ends[1] <= size:
        raise wrong(file, f"data_offsets of {what}", ends, f"two that rise within {size} bytes")
    wanted = math.prod(shape) * dtype.itemsize
    if ends[1] - ends[0] != wanted:
        raise wrong(
            file, f"data_offsets of {what}", ends, f"{wanted} bytes apart for the shape {shape}"
        )
    return _Span(dtype, tuple(shape), (ends[0], ends[1]))


def _are_sizes(value: object) -> bool:
    # Sizes below 2^48 multiply without leaving 64 bits when there are few of them.
    return isinstance(value, list) and all(map(is_size, value)) and all(v < 2**48 for v in value)


def _check_cover(file: Path, ends: Mapping[str, tuple[int, int]], size: int) -> None:
    """Tensors must follow each other without overlap or gap, to the very end of the file."""
    reached = 0
    for name, (begin, end) in sorted(ends.items(), key=lambda item: item[1]):
        # Without gap or overlap: no byte of a file goes unchecked, and no two names share weights.
        if begin != reached:
            raise wrong(file, f"begin of tensor {name!r}", begin, f"{reached}, where the last ends")
        reached = end
    if reached != size:
        raise wrong(file, "the length of its data", size, f"{reached} bytes: truncated or spliced")


def write_mapped(file: Path, tensors: Mapping[str, NDArray[Any]], metadata: dict[str, str]) -> None:
    """Write a safetensors file that `open_mapped` and the safetensors library read.

    Raises ValueError for an element type that has no name here.
    """
    header: dict[str, Any] = {"__metadata__": metadata}
    offset = 0
    for name in in_order(tensors):
        array = tensors[name]
        ends = [offset, offset + array.nbytes]
        header[name] = {"dtype": code(array), "shape": list(array.shape), "data_offsets": ends}
        offset = ends[1]
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    with file.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for name in in_order(tensors):
            stream.write(np.ascontiguousarray(tensors[name]).data)


def in_order(tensors: Mapping[str, NDArray[Any]]) -> list[str]:
    """Names in the order in which a file holds them: widest elements first."""
    return sorted(tensors, key=lambda name: (list(DTYPES).index(code(tensors[name])), name))


def code(array: NDArray[Any]) -> str:
    """Name of an array's element type in a file."""
    for name, dtype in DTYPES.items():
        if array.dtype == np.dtype(dtype):
            return name
    raise ValueError(f"elements of type {array.dtype}: a file holds {', '.join(DTYPES)}")
