"""Ternary planes as bits: 64 rows of a column in one pair of words."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

ROWS = 64
"""Rows whose codes share a word."""


def pack_planes(codes_PMK: NDArray[np.int8]) -> NDArray[np.uint64]:
    """Codes (P,M,K) in {-1,0,1} -> words (P, ceil(M/64), K, 2).

    Of a column, bit i of word 0 is set where row 64u+i is +1, and of word 1 where it is not zero.
    Rows from M on are zero.
    """
    planes, rows, columns = codes_PMK.shape
    units = -(-rows // ROWS)
    words = np.empty((planes, units, columns, 2), "<u8")
    for plane in range(planes):
        for unit in range(units):
            codes_RK = codes_PMK[plane, unit * ROWS : (unit + 1) * ROWS]
            words[plane, unit, :, 0] = _words(codes_RK > 0)
            words[plane, unit, :, 1] = _words(codes_RK != 0)
    return words


def _words(bits_RK: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Bits of up to 64 rows -> one word per column (K,)."""
    bytes_K8 = np.zeros((bits_RK.shape[1], ROWS // 8), np.uint8)
    packed = np.packbits(np.ascontiguousarray(bits_RK.T), axis=1, bitorder="little")
    bytes_K8[:, : packed.shape[1]] = packed
    return bytes_K8.view("<u8")[:, 0]


def unpack_planes(words: NDArray[np.uint64], *, rows: int) -> NDArray[np.int8]:
    """Words (P, ceil(rows/64), K, 2) -> codes (P, rows, K) in {-1,0,1}."""
    planes, units, columns, _ = words.shape
    codes_PUKR = _bits(words[..., 1])
    codes_PUKR -= 2 * (codes_PUKR & ~_bits(words[..., 0]))
    ordered = codes_PUKR.swapaxes(2, 3).reshape(planes, units * ROWS, columns)
    return np.ascontiguousarray(ordered[:, :rows])


def unpack_scaled(words: NDArray[np.uint64], scale: NDArray[np.float32]) -> NDArray[np.int8]:
    """Codes (P,M,K), a plane for each of the scales (P,G,M).

    One plane with two scales has that of its +1 and that of its -1: codes 0, 1 and codes -1, 0.
    """
    codes_PMK = unpack_planes(words, rows=scale.shape[2])
    if len(codes_PMK) == len(scale):
        return codes_PMK
    return np.concatenate((codes_PMK.clip(0, None), codes_PMK.clip(None, 0)))


def has_sides(words: NDArray[Any], scale: NDArray[Any]) -> bool:
    """Whether +1 and -1 of one plane have a scale each."""
    return words.shape[:1] == (1,) and scale.ndim == 3 and len(scale) == 2


def _bits(words_PUK: NDArray[np.uint64]) -> NDArray[np.int8]:
    """(P,U,K) -> (P,U,K,64), 0 or 1."""
    as_bytes = np.ascontiguousarray(words_PUK).view(np.uint8).reshape(*words_PUK.shape, 8)
    return np.unpackbits(as_bytes, axis=-1, bitorder="little").view(np.int8)
