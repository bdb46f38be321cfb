"""A model that fires as often, and is as sure of itself, as a trained one would be."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from asnn_goose.eval.spike_stats import densities
from asnn_goose.infer.engine import Engine

if TYPE_CHECKING:
    from asnn_goose.format.packed import PackedModel
    from asnn_goose.infer.backend import BackendName

NEAR = 0.005
"""Mean distance from the wanted density at which the search ends."""

ROUNDS = 12
LOWEST, HIGHEST = 0.02, 200.0


def gaussian_threshold(density: float) -> float:
    """The c with P(|x| > c mean|x|) = density for a Gaussian x.

    >>> round(gaussian_threshold(0.3), 3)
    1.299
    """
    check_density(density)
    return _deviations(density) * math.sqrt(math.pi / 2)


def check_density(density: float) -> None:
    """Raise ValueError for a density that no threshold gives."""
    if not 0 < density < 1:
        raise ValueError(f"density = {density:g}: must be above 0 and below 1")


def with_density(
    model: PackedModel,
    density: float,
    *,
    tokens: NDArray[np.int32],
    backend: BackendName = "native",
) -> PackedModel:
    """The model with thresholds under which each matrix sees `density` spikes on `tokens` (T,).

    Every round runs the model, then scales each threshold as if its input were Gaussian, until all
    are near. Raises ValueError for a density outside 0 to 1.
    """
    check_density(density)
    # Again and again, because every threshold changes the inputs of all matrices behind it.
    for _ in range(ROUNDS):
        engine = Engine(model, threads=1, backend=backend)
        engine.prefill(engine.start(), tokens)
        found = densities(engine.counts())
        if not found or np.mean([abs(d - density) for d in found.values()]) < NEAR:
            break
        model = replace(model, tensors=model.tensors | _moved(model, found, density))
    return model


def with_spread(
    model: PackedModel,
    deviation: float,
    *,
    tokens: NDArray[np.int32],
    backend: BackendName = "native",
) -> PackedModel:
    """The model with a final norm under which logits vary by `deviation` nats on `tokens` (T,)."""
    engine = Engine(model, threads=1, backend=backend)
    logits = np.concatenate(list(engine.score(engine.start(), tokens)))
    # The head is linear in the final norm's gain: one measurement is enough.
    factor = np.float32(deviation / logits.std(axis=-1).mean())
    scaled = {
        name: tensor * factor
        for name, tensor in model.tensors.items()
        if name.startswith("final_norm.")
    }
    return replace(model, tensors=model.tensors | scaled)


def _moved(
    model: PackedModel, found: dict[str, float], density: float
) -> dict[str, NDArray[np.float32]]:
    """New thresholds, each nearer to the wanted density than the one that gave `found`."""
    moved = {}
    for name, now in found.items():
        if f"{name}.threshold" not in model.tensors:
            continue  # a fixed amplitude stays
        # Kept off 0 and 1, where a Gaussian has no finite threshold.
        factor = _deviations(density) / _deviations(min(max(now, 0.005), 0.98))
        # Radix steps answer less than one would think: never move further than twofold.
        threshold = model.tensors[f"{name}.threshold"] * np.float32(min(max(factor, 0.5), 2.0))
        moved[f"{name}.threshold"] = threshold.clip(LOWEST, HIGHEST).astype(np.float32)
    return moved


def _deviations(density: float) -> float:
    """The z with P(|x| > z) = density for a standard Gaussian x."""
    return NormalDist().inv_cdf(1 - density / 2)
