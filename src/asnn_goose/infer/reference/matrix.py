"""The oracle's matrices: dense or sums of ternary planes, behind analogue or spiking inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asnn_goose.format.groups import ZEROES, by_group, codes_of, numbers
from asnn_goose.format.planes import unpack_scaled
from asnn_goose.infer.reference.spikes import F32, Encoded, Neurons, hadamard

Coding = Mapping[str, Mapping[str, Any]]
"""Matrix or site -> steps, code and rotation of what comes in."""


OCTET = 127
"""The largest size of a whole number that grouped weights meet."""


class Matrix:
    """y = W x + b of one packed matrix, for one token at a time.

    `weights` names the tensors of W, `name` those of everything else; they differ for a tied head.
    """

    def __init__(
        self,
        name: str,
        tensors: Mapping[str, NDArray[Any]],
        settings: Mapping[str, Any] | None = None,
        *,
        weights: str | None = None,
    ) -> None:
        self.neurons = Neurons(name, tensors, settings)
        self.rotate = bool((settings or {}).get("rotate", False))
        self.bias_M: F32 | None = tensors.get(f"{name}.bias")
        weights = weights or name
        self.scale: F32 | None = tensors.get(f"{weights}.scale")
        self.groups: NDArray[np.uint8] | None = tensors.get(f"{weights}.groups")
        if f"{weights}.planes" in tensors:
            assert self.scale is not None
            words = tensors[f"{weights}.planes"]
            self.codes_PMK: NDArray[np.int8] | None = unpack_scaled(words, self.scale)
        else:
            self.codes_PMK = None
            self.dense_MK = np.asarray(tensors[f"{weights}.weight"])

    def __call__(self, x_K: F32) -> F32:
        """fp32 (K,) -> fp32 (M,)."""
        h_K = hadamard(x_K) if self.rotate else x_K
        if self.neurons.steps:
            y_M = self._spiking(self.neurons(h_K))
        else:
            y_M = self._dense(h_K) if self.codes_PMK is None else self._ternary(h_K)
        return y_M if self.bias_M is None else y_M + self.bias_M

    def row(self, number: int) -> F32:
        """One row of dense weights: the embedding of a token."""
        if self.groups is not None:
            assert self.scale is not None
            rows = slice(number, number + 1)
            return np.asarray(numbers(self.dense_MK[rows], self.scale[rows], self.groups[rows])[0])
        row_K = self.dense_MK[number].astype(np.float32)
        return np.asarray(row_K if self.scale is None else row_K * self.scale[number])

    def _spiking(self, encoded: Encoded) -> F32:
        if self.codes_PMK is None:
            # Dense weights have no integer sum: what the spikes stand for is multiplied like any
            # input.
            return self._dense(encoded.amplitude * encoded.levels_K.astype(np.float32))
        return np.asarray(encoded.amplitude * self._ternary(encoded.levels_K))

    def _dense(self, x_K: F32) -> F32:
        if self.groups is not None:
            return self._grouped(*octets(x_K))
        y_M = self.dense_MK.astype(np.float32) @ x_K
        return y_M if self.scale is None else y_M * self.scale

    def _grouped(self, x_GC: F32, amplitude_G: F32) -> F32:
        """Sum over groups of a size times an integer, of which a zero takes its share."""
        assert self.groups is not None
        assert self.scale is not None
        # Products of bytes, whose sums over a group fp32 holds exactly.
        dot_MG = np.einsum("mgc,gc->mg", by_group(codes_of(self.dense_MK)), x_GC)
        if self.groups.shape[-1] == 2:
            dot_MG -= self.groups[..., 1].astype(np.float32) / ZEROES * x_GC.sum(-1)
        worth_MG = self.groups[..., 0].astype(np.float32) * amplitude_G
        return np.asarray(self.scale * (worth_MG * dot_MG).sum(-1))

    def _ternary(self, q_K: NDArray[Any]) -> F32:
        """Sum over planes and groups of scale times an integer (or, analogue, fp32) sum."""
        assert self.codes_PMK is not None
        assert self.scale is not None
        y_M = np.zeros(self.scale.shape[2], np.float32)
        for codes_MK, scale_GM in zip(self.codes_PMK, self.scale, strict=True):
            parts = zip(
                np.split(codes_MK, len(scale_GM), axis=1),
                np.split(q_K, len(scale_GM)),
                scale_GM,
                strict=True,
            )
            for part_MK, part_K, scale_M in parts:
                # Integers stay integers in the sum, as in the engine, and are exact there; scales
                # come after it.
                y_M += scale_M * (part_MK.astype(q_K.dtype) @ part_K).astype(np.float32)
        return y_M


def octets(x_K: F32) -> tuple[F32, F32]:
    """A vector as whole numbers -127 .. 127 (G,64), and the amplitude of each group (G,)."""
    x_GC = by_group(x_K)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        most_G = np.fmax.reduce(np.abs(x_GC), axis=-1)
        inverse_G = np.float32(OCTET) / most_G
        heard_G = (most_G > 0) & (most_G < np.inf) & (inverse_G < np.inf)
        inverse_G = np.where(heard_G, inverse_G, np.float32(0))
        codes_GC = np.nan_to_num(np.rint(x_GC * inverse_G[:, None]))
    return codes_GC, np.where(heard_G, most_G / np.float32(OCTET), np.float32(0))
