from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from asnn_goose.model.ternary import TTQ


@torch.no_grad()
def made(weight_OK: Tensor, **settings: Any) -> TTQ:
    """A method whose two scales differ and are not where they started."""
    method = TTQ(7, 128, **settings).double()
    method.positive_R1.copy_(1 + torch.rand(method.positive_R1.shape))
    method.negative_R1.copy_(3 + torch.rand(method.negative_R1.shape))
    return method


def zones_of(weight_OK: Tensor, granularity: str) -> tuple[Tensor, Tensor]:
    size = weight_OK.abs()
    largest = size.max() if granularity == "tensor" else size.max(-1, keepdim=True).values
    return weight_OK > 0.05 * largest, weight_OK < -0.05 * largest


@pytest.mark.parametrize("granularity", ["row", "tensor"])
def test_values_and_every_gradient_as_published(
    granularity: str, weight_OK: Tensor, g_OK: Tensor
) -> None:
    weight_OK, g_OK = weight_OK.double().requires_grad_(), g_OK.double()
    method = made(weight_OK, granularity=granularity)
    above_OK, below_OK = zones_of(weight_OK.detach(), granularity)
    p, n = method.positive_R1.detach(), method.negative_R1.detach()
    out_OK = method(weight_OK)
    assert torch.equal(out_OK, above_OK * p - below_OK * n)
    leaves = (weight_OK, method.positive_R1, method.negative_R1)
    dweight_OK, dpositive, dnegative = torch.autograd.grad(out_OK, leaves, g_OK)
    middle_OK = ~(above_OK | below_OK)
    assert 0 < middle_OK.sum() < 7 * 128
    zone_OK = above_OK * p + middle_OK + below_OK * n
    assert torch.equal(dweight_OK, zone_OK * g_OK)
    axes = (0, 1) if granularity == "tensor" else 1
    assert torch.allclose(dpositive.flatten(), (g_OK * above_OK).sum(axes).flatten())
    assert torch.allclose(dnegative.flatten(), -(g_OK * below_OK).sum(axes).flatten())


def test_gradients_of_the_scales_against_finite_differences(
    weight_OK: Tensor, g_OK: Tensor
) -> None:
    weight_OK, g_OK = weight_OK.double(), g_OK.double()
    method = made(weight_OK)
    for scale_R1 in (method.positive_R1, method.negative_R1):
        (slope_R1,) = torch.autograd.grad((method(weight_OK) * g_OK).sum(), scale_R1)
        with torch.no_grad():
            before = (method(weight_OK) * g_OK).sum(-1)
            scale_R1.add_(1e-3)
            after = (method(weight_OK) * g_OK).sum(-1)
        assert torch.allclose((after - before) / 1e-3, slope_R1[:, 0])


def test_equal_scales_are_one_symmetric_plane(weight_OK: Tensor) -> None:
    weight_OK = weight_OK.double()
    method = made(weight_OK)
    with torch.no_grad():
        method.negative_R1.copy_(method.positive_R1)
    above_OK, below_OK = zones_of(weight_OK, "row")
    codes_OK = above_OK.double() - below_OK.double()
    assert torch.equal(method(weight_OK), codes_OK * method.positive_R1)
    codes_POK, scale_PGO = method.planes_of(weight_OK)
    assert torch.equal(codes_POK.sum(0), codes_OK)
    assert torch.equal(scale_PGO[0], scale_PGO[1])


def test_planes_have_one_sign_each(weight_OK: Tensor) -> None:
    method = made(weight_OK)
    codes_POK, scale_PGO = method.planes_of(weight_OK.double())
    assert set(codes_POK[0].unique().tolist()) == {0.0, 1.0}
    assert set(codes_POK[1].unique().tolist()) == {-1.0, 0.0}
    assert torch.equal(scale_PGO[0, 0], method.positive_R1[:, 0])
    assert torch.equal(scale_PGO[1, 0], method.negative_R1[:, 0])


def test_scales_start_at_the_means_of_their_sides() -> None:
    weight_OK = torch.tensor([[4.0, 2.0, -8.0, 0.1], [2.0, 4.0, 0.1, -0.1]])
    method = TTQ(2, 4)
    method.start_(weight_OK)
    assert method.positive_R1.flatten().tolist() == [3, 3]
    # Nothing is below -Delta in the second row, which lends the mean of its other side.
    assert method.negative_R1.flatten().tolist() == [8, 3]


def test_a_percentile_is_the_share_of_zeros(weight_OK: Tensor) -> None:
    weight_OK[3] = weight_OK[2].flip(0)
    zero_OK = TTQ(7, 128, percentile=0.375)(weight_OK) == 0
    assert (zero_OK.sum(-1) == 48).all()
    assert int((TTQ(7, 128, percentile=0.375, granularity="tensor")(weight_OK) == 0).sum()) == 336


def test_a_scale_below_the_floor_comes_up_again(weight_OK: Tensor, g_OK: Tensor) -> None:
    method = TTQ(7, 128)
    with torch.no_grad():
        method.positive_R1.fill_(-1)
    out_OK = method(weight_OK)
    assert out_OK.max().item() == pytest.approx(1e-6)
    assert method.planes_of(weight_OK).scale_PGO[0].min().item() == pytest.approx(1e-6)
    out_OK.backward(g_OK)
    assert method.positive_R1.grad is not None
    assert method.positive_R1.grad.abs().sum() > 0


def test_settings_that_make_no_sense() -> None:
    with pytest.raises(ValueError, match=r"threshold = 1\.0: must be 0 or more and below 1"):
        TTQ(8, 64, threshold=1.0)
    with pytest.raises(ValueError, match=r"percentile = -0\.1: must be 0 or more and below 1"):
        TTQ(8, 64, percentile=-0.1)
