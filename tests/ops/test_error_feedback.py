from __future__ import annotations

import pytest
import torch
from torch import Tensor

from asnn_goose.ops.error_feedback import _refitted, error_feedback, latent
from asnn_goose.ops.ternary import Ternary, absmean

K = 96
SETTINGS = pytest.mark.parametrize(("planes", "group"), [(1, 0), (2, 0), (1, 32), (2, 32)])


@pytest.fixture
def weight_OK() -> Tensor:
    weight_OK = torch.randn(10, K, generator=torch.Generator().manual_seed(0))
    weight_OK[4] = 0
    weight_OK[5, :32] = 0
    return weight_OK


@pytest.fixture
def covariance_KK() -> Tensor:
    """Inputs whose channels are mixed from half as many, with some noise."""
    generator = torch.Generator().manual_seed(1)
    mixed_NK = torch.randn(400, K // 2, generator=generator) @ torch.randn(
        K // 2, K, generator=generator
    )
    x_NK = mixed_NK + torch.randn(400, K, generator=generator)
    return x_NK.T @ x_NK / 400


def error(weight_OK: Tensor, dense_OK: Tensor, covariance_KK: Tensor) -> float:
    """tr (W-Q) C (W-Q)^T."""
    rest_OK = (weight_OK - dense_OK).double()
    return float(((rest_OK @ covariance_KK.double()) * rest_OK).sum())


@SETTINGS
def test_planes_are_what_they_should_be(
    planes: int, group: int, weight_OK: Tensor, covariance_KK: Tensor
) -> None:
    ternary, dense_OK = error_feedback(weight_OK, covariance_KK, planes=planes, group=group)
    assert ternary.codes_POK.shape == (planes, 10, K)
    assert ternary.scale_PGO.shape == (planes, K // (group or K), 10)
    assert set(ternary.codes_POK.unique().tolist()) == {-1.0, 0.0, 1.0}
    assert (ternary.scale_PGO >= 0).all()
    assert torch.equal(dense_OK, ternary.dense())
    assert dense_OK.dtype == weight_OK.dtype
    assert dense_OK[4].abs().max() == 0


@SETTINGS
@pytest.mark.parametrize("refit", [False, True])
def test_outputs_are_much_nearer_than_those_of_absmean(
    planes: int, group: int, refit: bool, weight_OK: Tensor, covariance_KK: Tensor
) -> None:
    plain_OK = absmean(weight_OK, planes=planes, group=group).dense()
    _, ours_OK = error_feedback(weight_OK, covariance_KK, planes=planes, group=group, refit=refit)
    bound = {(1, False): 0.5, (1, True): 0.4, (2, False): 0.35, (2, True): 0.25}[planes, refit]
    plain = error(weight_OK, plain_OK, covariance_KK)
    assert error(weight_OK, ours_OK, covariance_KK) < bound * plain


@SETTINGS
def test_inputs_that_are_not_correlated(planes: int, group: int, weight_OK: Tensor) -> None:
    _, ours_OK = error_feedback(weight_OK, torch.eye(K), planes=planes, group=group)
    plain_O = (weight_OK - absmean(weight_OK, planes=planes, group=group).dense()).norm(dim=-1)
    ours_O = (weight_OK - ours_OK).norm(dim=-1)
    assert (ours_O <= plain_O + 1e-6).all()
    assert ours_O.sum() < 0.97 * plain_O.sum()


def test_two_planes_and_smaller_groups_come_nearer(
    weight_OK: Tensor, covariance_KK: Tensor
) -> None:
    def left(planes: int, group: int) -> float:
        _, dense_OK = error_feedback(weight_OK, covariance_KK, planes=planes, group=group)
        return error(weight_OK, dense_OK, covariance_KK)

    assert left(2, 0) < 0.5 * left(1, 0)
    assert left(2, 32) < left(2, 0)


@SETTINGS
def test_scales_are_the_best_for_their_codes(
    planes: int, group: int, weight_OK: Tensor, covariance_KK: Tensor
) -> None:
    weight_OK, covariance_KK = weight_OK.double(), covariance_KK.double()
    settings = {"planes": planes, "group": group}
    (codes_POK, scale_PGO), _ = error_feedback(weight_OK, covariance_KK, damping=0.0, **settings)
    scale_PGO.requires_grad_()
    rest_OK = weight_OK - _sum_of_planes(codes_POK, scale_PGO)
    total = ((rest_OK @ covariance_KK) * rest_OK).sum()
    (slope_PGO,) = torch.autograd.grad(total, scale_PGO)
    assert slope_PGO.abs().max() < 1e-6 * total.item()


def _sum_of_planes(codes_POK: Tensor, scale_PGO: Tensor) -> Tensor:
    group = codes_POK.shape[2] // scale_PGO.shape[1]
    scale_POK = scale_PGO.transpose(1, 2).repeat_interleave(group, -1)
    return (codes_POK * scale_POK).sum(0)


def test_codes_with_a_negative_scale_are_turned_round(
    weight_OK: Tensor, covariance_KK: Tensor
) -> None:
    codes_POK, scale_PGO = absmean(weight_OK, planes=2, group=32)
    right, wrong = (
        _refitted(weight_OK, Ternary(sign * codes_POK, scale_PGO), covariance_KK)
        for sign in (1, -1)
    )
    assert (wrong.scale_PGO >= 0).all()
    assert torch.allclose(right.dense(), wrong.dense(), atol=1e-4)
    assert torch.equal(right.codes_POK[:, :4], wrong.codes_POK[:, :4])


@pytest.mark.parametrize("refit", [False, True])
def test_no_row_is_farther_than_absmean_leaves_it(refit: bool) -> None:
    # Rounding in turn looks ahead by no column: of 64 rows of 8 it leaves some farther off.
    generator = torch.Generator().manual_seed(0)
    weight_OK = torch.randn(64, 8, generator=generator)
    x_NK = torch.randn(24, 8, generator=generator) @ torch.randn(8, 8, generator=generator)
    covariance_KK = x_NK.T @ x_NK / 24
    found = error_feedback(weight_OK, covariance_KK, planes=1, group=0, refit=refit)[1]
    damped_KK = covariance_KK.double()
    damped_KK += 0.01 * damped_KK.diag().mean() * torch.eye(8)
    errors = [
        (((weight_OK - q).double() @ damped_KK) * (weight_OK - q).double()).sum(-1)
        for q in (found, absmean(weight_OK).dense())
    ]
    assert (errors[0] <= errors[1] * (1 + 1e-6)).all()
    assert errors[0].sum() < 0.8 * errors[1].sum()


def test_columns_one_by_one_as_the_paper_does(weight_OK: Tensor, covariance_KK: Tensor) -> None:
    # By the book: round column 0, let the rest answer optimally, drop it, go on.
    damped_KK = covariance_KK.double() + 0.1 * covariance_KK.double().diag().mean() * torch.eye(K)
    scale_O = absmean(weight_OK.double()).scale_PGO[0, 0]
    left_OK, codes = weight_OK.double(), []
    for k in range(K):
        code_O = (left_OK[:, 0].abs() > scale_O / 2) * left_OK[:, 0].sign()
        codes.append(code_O)
        inverse = torch.linalg.inv(damped_KK[k:, k:])
        lost_O = (left_OK[:, 0] - code_O * scale_O) / inverse[0, 0]
        left_OK = left_OK[:, 1:] - torch.outer(lost_O, inverse[0, 1:])
    want = torch.stack(codes, dim=1)
    settings = {"planes": 1, "group": 0, "damping": 0.1, "refit": False}
    ternary, _ = error_feedback(weight_OK, covariance_KK, block=7, **settings)
    # A row may keep absmean where that is better, and here none does.
    assert torch.equal(ternary.codes_POK[0].double(), want)


@SETTINGS
def test_the_size_of_a_block_changes_nothing(
    planes: int, group: int, weight_OK: Tensor, covariance_KK: Tensor
) -> None:
    results = [
        error_feedback(weight_OK, covariance_KK, planes=planes, group=group, block=block)[1]
        for block in (1, 7, K, 1000)
    ]
    for other in results[1:]:
        assert torch.allclose(results[0], other, atol=1e-5)


def test_one_plane_is_what_absmean_finds_in_it(weight_OK: Tensor, covariance_KK: Tensor) -> None:
    # A latent matrix that is set to the result stays there.
    ternary, dense_OK = error_feedback(weight_OK, covariance_KK, planes=1, group=32)
    again = absmean(dense_OK, group=32)
    assert torch.equal(again.codes_POK, ternary.codes_POK)
    assert torch.allclose(again.dense(), dense_OK, rtol=1e-6)


def test_a_channel_that_never_speaks_is_borne(weight_OK: Tensor, covariance_KK: Tensor) -> None:
    covariance_KK[7], covariance_KK[:, 7] = 0, 0
    _, dense_OK = error_feedback(weight_OK, covariance_KK, planes=1, group=0)
    assert dense_OK.isfinite().all()
    with pytest.raises(ValueError, match=r"damping = 0\.0 it is not positive definite"):
        error_feedback(weight_OK, covariance_KK, planes=1, group=0, damping=0.0)


def test_wrong_settings_are_named(weight_OK: Tensor, covariance_KK: Tensor) -> None:
    good = {"planes": 1, "group": 0}
    with pytest.raises(ValueError, match=r"covariance of shape \(95, 96\): must be \(96, 96\)"):
        error_feedback(weight_OK, covariance_KK[1:], **good)
    with pytest.raises(ValueError, match=r"weight of shape \(96,\): must be a matrix"):
        error_feedback(weight_OK[0], covariance_KK, **good)
    with pytest.raises(ValueError, match="damping = -1: must be 0 or more"):
        error_feedback(weight_OK, covariance_KK, damping=-1, **good)
    with pytest.raises(ValueError, match="block = 0: must be 1 or more"):
        error_feedback(weight_OK, covariance_KK, block=0, **good)
    with pytest.raises(ValueError, match="planes = 3: must be 1 or 2"):
        error_feedback(weight_OK, covariance_KK, planes=3, group=0)
    with pytest.raises(ValueError, match="group = 64: must divide the 96 columns"):
        error_feedback(weight_OK, covariance_KK, planes=1, group=64)
    with pytest.raises(ValueError, match="not positive definite"):
        error_feedback(weight_OK, 0 * covariance_KK, **good)


def test_latent_weights_round_to_the_plane(weight_OK: Tensor, covariance_KK: Tensor) -> None:
    found, _ = error_feedback(weight_OK, covariance_KK, planes=1, group=0)
    latent_OK = latent(weight_OK, found)
    again = absmean(latent_OK)
    assert torch.equal(again.codes_POK, found.codes_POK)
    torch.testing.assert_close(again.scale_PGO, found.scale_PGO)
    assert (latent_OK - weight_OK).square().sum() < (found.dense() - weight_OK).square().sum()


def test_latent_weights_of_groups_are_unknown(weight_OK: Tensor) -> None:
    with pytest.raises(ValueError, match="one plane with a scale per row"):
        latent(weight_OK, absmean(weight_OK, planes=2))
