"""The oracle's neurons: how one token's vector becomes a few integers and an amplitude."""

from __future__ import annotations

from collections.abc import Mapping
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
    # In fp64 and rounded once, hence in any order of summing the same number.
    mean = np.float32(magnitude_K.sum(dtype=np.float64) / h_K.size)
    # Silence, NaN and infinities alike: the engine must have one answer for each, and this is it.
    if not 0 < mean < np.inf:
        return _silence(h_K)
    # In fp32 like the engine's: the last bit of this product decides about spikes that stand on it.
    level = np.float32(threshold) * mean
    if steps > 1:
        most = largest_level(steps, code)
        return _graded(h_K, np.float32(level / np.float32(most)), most)
    active_K = magnitude_K > level
    count = int(active_K.sum())
    total = magnitude_K[active_K].sum(dtype=np.float64)
    return _signs(h_K, active_K, np.float32(total / count) if count else np.float32(0))


def encode_fixed(
    h_K: F32, *, steps: int, code: str, amplitude: float, fires: float = 0.0
) -> Encoded:
    """Levels of one vector at an amplitude that every vector shares.

    One step: the sign where the magnitude exceeds `fires`. More: the nearest of the levels -M..M.
    What is no number is silent.
    """
    if steps == 1:
        return _signs(h_K, np.abs(h_K) > np.float32(fires), np.float32(amplitude))
    return _graded(h_K, np.float32(amplitude), largest_level(steps, code))


def _graded(h_K: F32, amplitude: np.float32, most: int) -> Encoded:
    with np.errstate(over="ignore", divide="ignore"):
        inverse = np.float32(1) / amplitude
        if np.isinf(inverse):  # too small an amplitude to be divided by
            return _silence(h_K)
        levels_K = np.rint(h_K * inverse)
    # NaN has no whole number, and a cast of it is undefined in C++.
    levels_K[np.isnan(levels_K)] = 0
    return Encoded(np.clip(levels_K, -most, most).astype(np.int64), amplitude)


def _signs(h_K: F32, active_K: NDArray[np.bool_], amplitude: np.float32) -> Encoded:
    return Encoded(np.where(active_K, np.sign(h_K), 0).astype(np.int64), amplitude)


def _silence(h_K: F32) -> Encoded:
    return Encoded(np.zeros(h_K.size, np.int64), np.float32(0))


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
            # Balanced ternary: digits -1, 0, 1 spell every level in one way, negative ones too.
            digit_K = (rest_K + 1) % 3 - 1
            spikes.append(digit_K)
            rest_K = (rest_K - digit_K) // 3
    base = {"rate": 1, "radix2": 2, "radix3": 3}[code]
    return np.stack(spikes), base ** np.arange(steps, dtype=np.int64)


class Neurons:
    """What fires at one place of the model: in front of a matrix, or at a site without one.

    steps   0 where the place stays analogue; `settings` is its row in the table of matrices
    spikes  how many came, and how many could have come
    """

    def __init__(
        self, name: str, tensors: Mapping[str, NDArray[Any]], settings: Mapping[str, Any] | None
    ) -> None:
        settings = settings or {}
        self.steps, self.code = int(settings.get("steps", 0)), str(settings.get("code", "radix3"))
        self.spikes = (0, 0)
        self._numbers = {
            end: float(tensors[f"{name}.{end}"][0])
            for end in ("threshold", "amplitude", "fires")
            if self.steps and f"{name}.{end}" in tensors
        }

    def __call__(self, h_K: F32) -> Encoded:
        """Levels and amplitude of fp32 (K,), counted; only where steps > 0."""
        encoded = self._encoded(h_K)
        spikes_SK, _ = digits(encoded.levels_K, steps=self.steps, code=self.code)
        active, total = self.spikes
        self.spikes = active + int(np.count_nonzero(spikes_SK)), total + spikes_SK.size
        return encoded

    def _encoded(self, h_K: F32) -> Encoded:
        if "amplitude" in self._numbers:
            return encode_fixed(h_K, steps=self.steps, code=self.code, **self._numbers)
        return encode(h_K, steps=self.steps, code=self.code, **self._numbers)

    def values(self, x_K: F32) -> F32:
        """What the spikes stand for, or x itself where nothing spikes: fp32 (K,)."""
        if not self.steps:
            return x_K
        encoded = self(x_K)
        return np.asarray(encoded.amplitude * encoded.levels_K.astype(np.float32))
