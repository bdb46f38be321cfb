"""What one token takes, so that the playground can say it: plain numbers, worked out elsewhere."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]

_BLOCK = re.compile(r"blocks\.(\d+)\.(.+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Arithmetic of a token: what is always there, and what each spike adds.

    additions, multiplications, picojoules  without any spike
    per_spike              name of a spiking matrix -> integer additions of one spike, on average
    addition_picojoules    of one of those
    dense_picojoules       of a token with the same shapes, all matrices dense in fp16
    kv_bytes               what a key-value cache in fp16 grows by with every token
    """

    additions: float
    multiplications: float
    picojoules: float
    per_spike: Mapping[str, float]
    addition_picojoules: float
    dense_picojoules: float
    kv_bytes: int


class Activity:
    """Turns the spikes of a token into what a reader can look at.

    possible  spiking place -> spikes that may come in a token, in the engine's order
    """

    def __init__(self, possible: Mapping[str, int], costs: Costs) -> None:
        self._costs = costs
        self._possible = np.array([possible[name] for name in possible], np.float64)
        self._per_spike = np.array([costs.per_spike.get(name, 0.0) for name in possible])
        places = [_BLOCK.fullmatch(name) for name in possible]
        layers = [int(place[1]) if place else None for place in places]
        self.layers = 1 + max((layer for layer in layers if layer is not None), default=-1)
        # What stands in no block, the head, is a row of its own behind the layers.
        self._layer_of = np.array([self.layers if n is None else n for n in layers], np.intp)
        short = [place[2] if place else name for place, name in zip(places, possible, strict=True)]
        self.matrices = list(dict.fromkeys(short))
        self._matrix_of = np.array([self.matrices.index(name) for name in short], np.intp)

    def of_token(self, came: F32) -> dict[str, Any]:
        """Share of the spikes that came, by layer and by matrix, and the arithmetic they made."""
        extra = float(came @ self._per_spike)
        costs = self._costs
        rows = self.layers + int((self._layer_of == self.layers).any())
        return {
            "layers": self._shares(came, self._layer_of, rows),
            "matrices": self._shares(came, self._matrix_of, len(self.matrices)),
            "additions": round(costs.additions + extra),
            "multiplications": round(costs.multiplications),
            "picojoules": round(costs.picojoules + extra * costs.addition_picojoules),
        }

    def _shares(self, came: F32, group_of: NDArray[np.intp], groups: int) -> list[float]:
        spikes = np.bincount(group_of, weights=came, minlength=groups)
        possible = np.bincount(group_of, weights=self._possible, minlength=groups)
        return [round(float(share), 4) for share in spikes / np.maximum(possible, 1)]
