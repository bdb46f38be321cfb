"""Dense weights as small whole numbers, 64 columns of a row in a group with a scale of its own.

A weight is scale * size * code, or with four bits scale * size * (code - zero / 16): `scale`
belongs to a row, `size` and `zero` are bytes of a group.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from asnn_goose.shape.code_limits import GROUP

ZEROES = 16
"""Steps of a zero within one of the codes."""

Codes = NDArray[np.uint8] | NDArray[np.int8]


def pack_nibbles(codes_MK: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Codes 0 .. 15 (M,K) of an even number of columns -> bytes (M,K/2), the first one below."""
    return codes_MK[:, ::2] | codes_MK[:, 1::2] << 4


def unpack_nibbles(packed: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bytes (M,K/2) -> codes 0 .. 15 (M,K)."""
    return np.stack((packed & 15, packed >> 4), axis=-1).reshape(len(packed), -1)


def codes_of(stored: Codes) -> Codes:
    """Codes (M,K) of a weight as it is stored: int8 as they are, two to a byte otherwise."""
    return stored if stored.dtype == np.int8 else unpack_nibbles(stored)


def by_group(values: NDArray[np.float32] | Codes, *, fill: int = 0) -> NDArray[np.float32]:
    """Numbers (...,K) -> fp32 (...,G,64), the last group filled up."""
    short = -values.shape[-1] % GROUP
    wide = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, short)], constant_values=fill)
    return wide.reshape(*values.shape[:-1], -1, GROUP).astype(np.float32)


def numbers(
    stored: Codes, scale_M: NDArray[np.float32], groups: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """Weights fp32 (M,K) of a stored matrix and its groups (M,G,1), or (M,G,2) with zeros."""
    codes_MK = codes_of(stored)
    levels = by_group(codes_MK)
    if groups.shape[-1] == 2:
        levels -= groups[..., 1:].astype(np.float32) / ZEROES
    levels *= scale_M[:, None, None] * groups[..., :1].astype(np.float32)
    return levels.reshape(len(levels), -1)[:, : codes_MK.shape[1]]
