"""How tensors go to compiled kernels, and what keeps them from going."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from asnn_goose.names import check_name
from asnn_goose.ops.native_build import native_available, native_status


def addresses(*tensors: Tensor | None) -> Any:
    """Where contiguous tensors lie, 0 for none. Whoever calls must hold them until the end."""
    return tuple(0 if x is None else x.data_ptr() for x in tensors)


def like(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Contiguous tensors of the same shapes and types, with nothing in them."""
    return tuple(x.new_empty(x.shape) for x in tensors)


def obstacle_to_kernel(device: torch.device, dtype: torch.dtype) -> str | None:
    """Why a compiled recurrence cannot take inputs of this kind, or None."""
    if not native_available():
        return native_status()
    if device.type != "cpu":
        return f"it runs on the CPU, the inputs are on {device}"
    if dtype != torch.float32:
        return f"it computes in fp32, the inputs are {dtype}"
    return None


def takes_kernel(form: str, obstacle: str | None, *, plain: str) -> bool:
    """Whether the kernel runs, where `form` may be "auto", "native" or the name of the plain form.

    Raises ValueError for another form, and for "native" where an obstacle stands in the way.
    """
    check_name(("auto", plain, "native"), form, setting="form")
    if form == "native" and obstacle is not None:
        raise ValueError(f"form is 'native', but the compiled kernel cannot be used: {obstacle}")
    return form != plain and obstacle is None
