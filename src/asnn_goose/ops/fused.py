"""Where compiled kernels of training (csrc/train) can take the place of PyTorch's operations."""

from __future__ import annotations

import torch
from torch import Tensor

from asnn_goose.ops.native_build import native_available

COLUMNS = 16
"""Columns of a matrix or of tokens come in multiples of this."""


def fits(x: Tensor, *, columns: int = COLUMNS) -> bool:
    """Whether a tensor is what they are written for: fp32 on the CPU, columns in such multiples.

    Under autocast products are another machine's: there they stay PyTorch's.
    """
    plain = x.dtype == torch.float32 and x.device.type == "cpu" and x.numel() > 0
    return (
        plain
        and x.shape[-1] % columns == 0
        and native_available()
        and not torch.is_autocast_enabled("cpu")
    )
