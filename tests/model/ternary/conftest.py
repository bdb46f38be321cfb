from __future__ import annotations

import pytest
import torch
from torch import Tensor


@pytest.fixture
def weight_OK() -> Tensor:
    """Rows of different sizes, one with a heavy tail, and one of zeros."""
    weight_OK = torch.randn(7, 128, generator=torch.Generator().manual_seed(0))
    weight_OK[5] = weight_OK[5] ** 3
    weight_OK *= torch.logspace(-2, 1, 7).unsqueeze(-1)
    weight_OK[3] = 0
    return weight_OK


@pytest.fixture
def g_OK() -> Tensor:
    """A gradient that comes back to the ternary matrix."""
    return torch.randn(7, 128, generator=torch.Generator().manual_seed(1))
