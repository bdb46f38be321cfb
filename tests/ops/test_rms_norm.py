"""The compiled RMSNorm against PyTorch's in fp64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from asnn_goose.ops.rms_norm import rms_norm

pytestmark = pytest.mark.usefixtures("isa")


def found(x: Tensor, weight: Tensor, slope: Tensor, *, eps: float) -> list[Tensor]:
    """Output and gradients; fp64 takes PyTorch's operations."""
    leaves = [x.clone().requires_grad_(), weight.clone().requires_grad_()]
    y = rms_norm(*leaves, eps=eps)
    y.backward(slope)
    return [y.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)]


@pytest.mark.parametrize(("tokens", "columns"), [(1, 16), (70, 48), (33, 576)])
@pytest.mark.parametrize("eps", [1e-5, 0.5])
def test_values_and_gradients_are_those_of_fp64(tokens: int, columns: int, eps: float) -> None:
    generator = torch.Generator().manual_seed(columns)
    x, slope = torch.randn(2, tokens, columns, generator=generator) * 0.3
    x[0] = 0
    weight = torch.rand(columns, generator=generator) + 0.5
    narrow = found(x, weight, slope, eps=eps)
    wide = found(x.double(), weight.double(), slope.double(), eps=eps)
    plain = F.rms_norm(x.double(), (columns,), weight.double(), eps)
    assert torch.allclose(wide[0], plain)
    for one, other in zip(narrow, wide, strict=True):
        assert torch.allclose(one.double(), other, rtol=1e-5, atol=1e-5 * float(other.abs().max()))


def test_gradients_come_in_however_they_lie() -> None:
    x, weight = torch.randn(4, 16), torch.ones(16)
    spread = found(x, weight, torch.ones(1, 1).expand(4, 16), eps=1e-5)
    assert all(map(torch.equal, spread, found(x, weight, torch.ones(4, 16), eps=1e-5)))


def test_threads_change_nothing() -> None:
    before, results = torch.get_num_threads(), []
    x, slope = torch.randn(2, 300, 256)
    for threads in (1, 3):
        torch.set_num_threads(threads)
        results.append(found(x, torch.ones(256), slope, eps=1e-5))
    torch.set_num_threads(before)
    assert all(map(torch.equal, *results))
