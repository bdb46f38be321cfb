"""The same student behind fewer spikes, as a cheap draft of itself: its weights do not change.

Its states are those of the student, for only the coding of inputs differs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from asnn_goose.infer.backend import EngineError
from asnn_goose.infer.reference.spikes import largest_level

if TYPE_CHECKING:
    from asnn_goose.format.packed import PackedModel

ONE_STEP = 0.7
"""Threshold of one step, in mean magnitudes: about where a ternary code loses least."""

CLIPS = ((2, 4, 13), (1.9, 2.7, 3.5))
"""Largest levels, and where they had best stand, in mean magnitudes of normal numbers."""


def with_steps(model: PackedModel, steps: int) -> PackedModel:
    """The model with at most so many steps at every place that spikes.

    Raises EngineError where no place has more.
    """
    most = max((int(coding["steps"]) for coding in model.matrices.values()), default=0)
    if not 1 <= steps < most:
        raise EngineError(
            f"draft steps = {steps}: must be at least 1 and fewer than the student's own {most}"
        )
    tensors, matrices = dict(model.tensors), dict(model.matrices)
    for name, coding in model.matrices.items():
        if int(coding["steps"]) > steps:
            matrices[name] = {**coding, "steps": steps}
            fixed = f"{name}.amplitude" in tensors
            tensors |= (_fixed if fixed else _relative)(model, name, steps)
    return replace(model, tensors=tensors, matrices=matrices)


def _relative(model: PackedModel, name: str, steps: int) -> dict[str, Any]:
    """A threshold that suits fewer levels."""
    threshold = ONE_STEP
    if steps > 1:
        levels = largest_level(steps, model.matrices[name]["code"])
        own = float(model.tensors[f"{name}.threshold"][0])
        threshold = min(own, float(np.interp(levels, *CLIPS)))
    return {f"{name}.threshold": np.array([threshold], np.float32)}


def _fixed(model: PackedModel, name: str, steps: int) -> dict[str, Any]:
    """The largest level where it stood; for one step half of that, from a quarter on."""
    coding, amplitude = model.matrices[name], float(model.tensors[f"{name}.amplitude"][0])
    top = amplitude * largest_level(int(coding["steps"]), coding["code"])
    if steps == 1:
        return {
            f"{name}.amplitude": np.array([top / 2], np.float32),
            f"{name}.fires": np.array([top / 4], np.float32),
        }
    levels = largest_level(steps, coding["code"])
    return {f"{name}.amplitude": np.array([top / levels], np.float32)}
