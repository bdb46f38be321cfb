"""The compiled gate against PyTorch's in fp64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from asnn_goose.ops.silu_gate import silu_gate

pytestmark = pytest.mark.usefixtures("isa")


def found(gate: Tensor, up: Tensor, slope: Tensor) -> list[Tensor]:
    """Output and gradients; fp64 takes PyTorch's operations."""
    leaves = [gate.clone().requires_grad_(), up.clone().requires_grad_()]
    y = silu_gate(*leaves)
    y.backward(slope)
    return [y.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)]


@pytest.mark.parametrize("shape", [(16,), (3, 5, 48), (9, 1536)])
def test_values_and_gradients_are_those_of_fp64(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(len(shape))
    gate, up, slope = torch.randn(3, *shape, generator=generator)
    gate = gate * 8  # on both sides of where it bends
    narrow = found(gate, up, slope)
    wide = found(gate.double(), up.double(), slope.double())
    assert torch.allclose(wide[0], F.silu(gate.double()) * up.double())
    for one, other in zip(narrow, wide, strict=True):
        assert torch.allclose(one.double(), other, rtol=1e-5, atol=1e-6)


def test_far_from_zero_it_is_a_ramp() -> None:
    gate = torch.tensor([200.0, -200.0] * 8)
    y, dgate, dup = found(gate, torch.full((16,), 2.0), torch.ones(16))
    assert torch.allclose(y, torch.tensor([400.0, 0.0] * 8))
    assert torch.allclose(dgate, torch.tensor([2.0, 0.0] * 8))
    assert torch.allclose(dup, torch.tensor([200.0, 0.0] * 8))


def test_gradients_come_in_however_they_lie() -> None:
    gate, up = torch.randn(2, 4, 16)
    spread = found(gate, up, torch.ones(1, 1).expand(4, 16))
    assert all(map(torch.equal, spread, found(gate, up, torch.ones(4, 16))))
