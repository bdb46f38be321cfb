"""States of the random number generators, without pickle."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor


def tensors(device: torch.device) -> dict[str, Tensor]:
    """Torch's generators as uint8 tensors on the CPU: `cpu`, and `device` where it is a GPU."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["device"] = torch.cuda.get_rng_state(device)
    return states


def restore_tensors(states: dict[str, Tensor], device: torch.device) -> None:
    """Put back what `tensors` gave."""
    torch.set_rng_state(states["cpu"].clone())
    if "device" in states:
        torch.cuda.set_rng_state(states["device"].clone(), device)


def plain() -> dict[str, Any]:
    """Python's and numpy's generators as values that JSON can hold."""
    kind, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    numpy_state = [str(kind), np.asarray(keys).tolist(), position, has_gauss, gauss]
    return {"python": random.getstate(), "numpy": numpy_state}


def restore_plain(states: dict[str, Any]) -> None:
    """Put back what `plain` gave, before or after a trip through JSON."""
    version, internal, gauss = states["python"]
    # JSON turns tuples into lists, which `setstate` does not take.
    random.setstate((version, tuple(internal), gauss))
    kind, keys, position, has_gauss, cached = states["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), position, has_gauss, cached))
