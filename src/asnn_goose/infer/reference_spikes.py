"""The oracle's neurons: how one token's vector becomes a few integers and an amplitude."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]

BLOCK = 64
"""Channels that one Hadamard rotation mixes."""


class Encoded(NamedTuple):
    """A vector as amplitude * levels_K, with whole levels."""

    levels_K: I64
    amplitude: np.float32


def hadamard(x_K: F32) -> F32:
    """Each block of 64 times the orthonormal Sylvester-Hadamard matrix, by butterflies in fp32.

    K must be a multiple of 64.
    """
    h = x_K.reshape(-1, BLOCK)
    for distance in (1, 2, 4, 8, 16, 32):
        pairs = h.reshape(len(h), -1, 2, distance)
        a, b = pairs[:, :, 0], pairs[:, :, 1]
        h = np.stack((a + b, a - b), axis=2).reshape(len(h), BLOCK)
    return np.asarray(h * np.float32(0.125)).reshape(-1)


def largest_level(steps: int, code: str) -> int:
    """Largest integer that so many ternary steps of a code add up to."""
    return {"rate": steps, "radix2": (1 << steps) - 1, "radix3": (int(3**steps) - 1) // 2}[code]


def encode(h_K: F32, *, steps: int, code: str, threshold: float) -> Encoded:
    """Levels of one vector against `threshold` times its own mean magnitude.

    One step: the sign where the magnitude exceeds the threshold, and the mean magnitude of those.
    More: the nearest of the levels -M..M, whose unit is the threshold over M.
    """
    magnitude_K = np.abs(h_K)
    mean = np.float32(magnitude_K.sum(dtype=np.float64) / h_K.size)
    if mean == 0:
        return Encoded(np.zeros(h_K.size, np.int64), np.float32(0))
    level = np.float32(threshold) * mean
    if steps == 1:
        return _signs(h_K, magnitude_K > level)
    most = largest_level(steps, code)
    amplitude = np.float32(level / np.float32(most))
    levels_K = np.rint(h_K * (np.float32(1) / amplitude))
    return Encoded(np.clip(levels_K, -most, most).astype(np.int64), amplitude)


def _signs(h_K: F32, active_K: NDArray[np.bool_]) -> Encoded:
    count = int(active_K.sum())
    total = np.abs(h_K[active_K]).sum(dtype=np.float64)
    amplitude = np.float32(total / count) if count else np.float32(0)
    return Encoded(np.where(active_K, np.sign(h_K), 0).astype(np.int64), amplitude)


def digits(levels_K: I64, *, steps: int, code: str) -> tuple[I64, I64]:
    """The spikes behind the levels: digits (steps, K) in {-1, 0, 1} and their weights (steps,).

    >>> digits(np.array([5, -4]), steps=3, code="radix3")[0].tolist()
    [[-1, -1], [-1, -1], [1, 0]]
    """
    spikes: list[Any] = []
    rest_K, sign_K, size_K = levels_K, np.sign(levels_K), np.abs(levels_K)
    for step in range(steps):
        if code == "rate":
            spikes.append(sign_K * (size_K > step))
        elif code == "radix2":
            spikes.append(sign_K * (size_K >> step & 1))
        else:
            digit_K = (rest_K + 1) % 3 - 1
            spikes.append(digit_K)
            rest_K = (rest_K - digit_K) // 3
    base = {"rate": 1, "radix2": 2, "radix3": 3}[code]
    return np.stack(spikes), base ** np.arange(steps, dtype=np.int64)
