"""Tensors of which every process holds a part, beside those that every process holds whole."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor; where it lies in parts every process must ask, and all get it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def like(tensor: Tensor, value: Tensor) -> Tensor:
    """A copy of a whole `value` on the device of `tensor`, in parts as that one is."""
    value = value.to(tensor.device, copy=True)
    if not isinstance(tensor, DTensor) or value.shape != tensor.shape:
        return value
    # Nothing is sent: every process has read all of it, and keeps its own part.
    mesh, places = tensor.device_mesh, tensor.placements
    return distribute_tensor(value, mesh, places, src_data_rank=None)


@torch.no_grad()
def put(tensor: Tensor, value: Tensor) -> None:
    """Copy a whole `value` into a tensor."""
    # Into the existing memory: its alignment decides how products are computed.
    tensor.copy_(like(tensor, value) if isinstance(tensor, DTensor) else value)
