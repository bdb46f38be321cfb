from __future__ import annotations

import pytest
import torch
from torch import Tensor

COLUMNS = 64


@pytest.fixture
def h_BTK() -> Tensor:
    """Tokens with light and heavy tails, of different sizes."""
    generator = torch.Generator().manual_seed(0)
    h = torch.randn(3, 8, COLUMNS, generator=generator)
    h[1] = h[1] ** 3
    h[2] *= 2.5
    return h


@pytest.fixture
def gaussian_BK() -> Tensor:
    return torch.randn(512, COLUMNS, generator=torch.Generator().manual_seed(1))
