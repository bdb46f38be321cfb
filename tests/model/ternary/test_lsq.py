from __future__ import annotations

import pytest
import torch
from torch import Tensor

from asnn_goose.model.ternary import LSQ, LSQPlus

BOTH = pytest.mark.parametrize("granularity", ["row", "tensor"])


@BOTH
def test_values_and_gradients_as_published(
    granularity: str, weight_OK: Tensor, g_OK: Tensor
) -> None:
    weight_OK, g_OK = weight_OK.double().requires_grad_(), g_OK.double()
    method = LSQ(7, 128, granularity=granularity).double()
    method.start_(weight_OK)
    s, v = method.step_R1.detach(), weight_OK.detach() / method.step_R1.detach()
    out_OK = method(weight_OK)
    assert torch.equal(out_OK, s * v.clamp(-1, 1).round())
    dweight_OK, dstep_R1 = torch.autograd.grad(out_OK, (weight_OK, method.step_R1), g_OK)
    inside_OK = v.abs() <= 1
    assert 0 < inside_OK.sum() < 7 * 128
    assert torch.equal(dweight_OK, g_OK * inside_OK)
    slope_OK = torch.where(inside_OK, v.round() - v, v.sign())
    axes, count = ((0, 1), 7 * 128) if granularity == "tensor" else (1, 128)
    want = (g_OK * slope_OK).sum(axes) / count**0.5
    assert torch.allclose(dstep_R1.flatten(), want.flatten())


def test_steps_start_at_twice_the_mean(weight_OK: Tensor) -> None:
    row, tensor = LSQ(7, 128), LSQ(7, 128, granularity="tensor")
    for method in (row, tensor):
        method.start_(weight_OK)
    want_O = 2 * weight_OK.abs().mean(-1)
    want_O[3] = 1e-6  # a row of zeros
    assert torch.allclose(row.step_R1[:, 0], want_O)
    assert tensor.step_R1.item() == pytest.approx(float(2 * weight_OK.abs().mean()))


@BOTH
def test_a_searched_start_leaves_less(granularity: str, weight_OK: Tensor) -> None:
    def error(method: LSQ | LSQPlus) -> Tensor:
        method.start_(weight_OK)
        rest_OK = method(weight_OK) - weight_OK
        return rest_OK.square().sum((0, 1) if granularity == "tensor" else 1)

    searched = error(LSQPlus(7, 128, granularity=granularity))
    plain = error(LSQ(7, 128, granularity=granularity))
    assert (searched <= plain + 1e-12).all()
    assert searched.sum() < 0.9 * plain.sum()


def test_from_the_same_step_both_learn_alike(weight_OK: Tensor, g_OK: Tensor) -> None:
    gradients = []
    for method in (LSQ(7, 128), LSQPlus(7, 128)):
        with torch.no_grad():
            method.step_R1.fill_(0.5)
        leaf_OK = weight_OK.clone().requires_grad_()
        gradients.append(torch.autograd.grad(method(leaf_OK), (leaf_OK, method.step_R1), g_OK))
    for one, other in zip(*gradients, strict=True):
        assert torch.equal(one, other)


def test_a_step_stays_positive(weight_OK: Tensor) -> None:
    method = LSQ(7, 128)
    with torch.no_grad():
        method.step_R1.fill_(-1)
    assert method(weight_OK).max().item() == pytest.approx(1e-6)
    assert method.planes_of(weight_OK).scale_PGO.min().item() == pytest.approx(1e-6)
