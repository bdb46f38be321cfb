"""llama.cpp's ternary kernel TQ2_0 x Q8_K, called in this process through a small C loop."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from bench.peers.compiled import compiled
from bench.peers.peer import NotRunError
from numpy.typing import NDArray

TQ2_0, Q8_K = 35, 15
"""Numbers of enum ggml_type."""

BLOCK = 256
"""Columns of a block of either type: rows must be a multiple of it."""

Q8_K_BYTES = 4 + BLOCK + 2 * (BLOCK // 16)
SOURCE = Path(__file__).with_name("tq2_0.c")

F32 = NDArray[np.float32]


class _Traits(ctypes.Structure):
    """Struct ggml_type_traits_cpu of ggml-cpu.h."""

    _fields_ = (
        ("from_float", ctypes.c_void_p),
        ("vec_dot", ctypes.c_void_p),
        ("vec_dot_type", ctypes.c_int),
        ("nrows", ctypes.c_int64),
    )


class Ggml:
    """The two libraries of llama.cpp that hold its kernels, from the folder where it was built.

    Raises NotRunError where they, or a compiler for the C loop, are not there.
    """

    def __init__(self, folder: Path) -> None:
        self._base, self._cpu = (_library(folder, name) for name in ("ggml-base", "ggml-cpu"))
        self._cpu.ggml_cpu_init()
        self._cpu.ggml_get_type_traits_cpu.restype = ctypes.POINTER(_Traits)
        self._base.ggml_quantize_chunk.restype = ctypes.c_size_t

    def traits(self, kind: int) -> _Traits:
        """Functions of a ggml type on this CPU."""
        found: _Traits = self._cpu.ggml_get_type_traits_cpu(kind).contents
        return found

    def quantise(self, weight_MK: F32) -> NDArray[np.uint8]:
        """A matrix as TQ2_0, one row of bytes per row."""
        rows, columns = weight_MK.shape
        packed = np.empty((rows, columns * 66 // BLOCK), np.uint8)
        weight_MK = np.ascontiguousarray(weight_MK, np.float32)
        written = self._base.ggml_quantize_chunk(
            TQ2_0,
            ctypes.c_void_p(weight_MK.ctypes.data),
            ctypes.c_void_p(packed.ctypes.data),
            ctypes.c_int64(0),
            ctypes.c_int64(rows),
            ctypes.c_int64(columns),
            None,
        )
        if written != packed.nbytes:
            raise NotRunError(f"TQ2_0 took {written} bytes where {packed.nbytes} were expected")
        return packed

    @cached_property
    def loop(self) -> Callable[..., None]:
        """The function of tq2_0.c, compiled once."""
        function: Callable[..., None] = compiled(SOURCE).tq2_0_multiply
        return function

    def multiplier(self, weight_MK: F32, x_K: F32, y_M: F32) -> Callable[[int], None]:
        """A function that computes y = W x so many times. Raises NotRunError for odd widths."""
        rows, columns = weight_MK.shape
        if columns % BLOCK:
            raise NotRunError(f"TQ2_0 needs rows of a multiple of {BLOCK}, not of {columns}")
        packed, q = self.quantise(weight_MK), np.empty(columns // BLOCK * Q8_K_BYTES, np.uint8)
        fixed = (
            ctypes.c_void_p(self.traits(Q8_K).from_float),
            ctypes.c_void_p(self.traits(TQ2_0).vec_dot),
            ctypes.c_void_p(packed.ctypes.data),
            ctypes.c_size_t(packed.shape[1]),
            *(ctypes.c_void_p(array.ctypes.data) for array in (x_K, q, y_M)),
            rows,
            columns,
        )
        arrays = (packed, q, x_K, y_M)  # kept alive by the closure

        def run(repeats: int) -> None:
            assert arrays
            self.loop(*fixed, ctypes.c_int64(repeats))

        return run


def _library(folder: Path, name: str) -> Any:
    file = next((f for end in ("so", "dylib") if (f := folder / f"lib{name}.{end}").exists()), None)
    if file is None:
        raise NotRunError(
            f"no lib{name} in {folder}: bench/peers/build_llama_cpp.sh builds it; then pass"
            " --llama-cpp FOLDER or set ASNN_GOOSE_LLAMA_CPP"
        )
    try:
        return ctypes.CDLL(str(file))
    except OSError as error:
        raise NotRunError(error) from error
