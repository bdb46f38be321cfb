"""Dense weights of four bits, 64 columns of a row in a group with a scale and a zero of its own.

A weight is scale * size * (code - zero / 16): `scale` belongs to a row, the bytes `size` and `zero`
to a group.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from asnn_goose.shape.code_limits import GROUP

ZEROES = 16
"""Steps of a zero within one of the codes."""

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]


def pack_nibbles(codes_MK: U8) -> U8:
    """Codes 0 .. 15 (M,K) of an even number of columns -> bytes (M,K/2), the first one below."""
    packed: U8 = codes_MK[:, ::2] | codes_MK[:, 1::2] << np.uint8(4)
    return packed


def unpack_nibbles(packed: U8) -> U8:
    """Bytes (M,K/2) -> codes 0 .. 15 (M,K)."""
    return np.stack((packed & 15, packed >> 4), axis=-1).reshape(len(packed), -1)


def by_group(values: F32 | U8) -> F32:
    """Numbers (...,K) -> fp32 (...,G,64), the last group filled up with zeros."""
    short = -values.shape[-1] % GROUP
    wide = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, short)])
    return wide.reshape(*values.shape[:-1], -1, GROUP).astype(np.float32)


def numbers(packed: U8, scale_M: F32, groups_MG2: U8) -> F32:
    """Weights fp32 (M,K) of bytes (M,K/2), with a size and a zero for each group."""
    size_MG1, zero_MG1 = np.split(groups_MG2.astype(np.float32), 2, axis=-1)
    levels_MGC = by_group(unpack_nibbles(packed)) - zero_MG1 / np.float32(ZEROES)
    levels_MGC *= scale_M[:, None, None] * size_MG1
    weight_MK: F32 = levels_MGC.reshape(len(packed), -1)[:, : 2 * packed.shape[1]]
    return weight_MK
