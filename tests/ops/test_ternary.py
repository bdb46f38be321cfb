from __future__ import annotations

import numpy as np
import pytest
import torch

from asnn_goose.ops.ternary import (
    absmean,
    best_step,
    dead_zone,
    learned_step,
    sharing,
    twn,
    zone_means,
    zones,
)

SETTINGS = [(planes, group) for planes in (1, 2) for group in (0, 32)]


@pytest.fixture
def weight() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(9, 96, generator=generator)
    weight[4] = 0
    weight[5, :32] = 0
    return weight


def by_hand(row: np.ndarray) -> tuple[np.ndarray, float]:
    gamma = np.abs(row).mean()
    codes = np.clip(np.rint(row / gamma), -1, 1) if gamma else np.zeros_like(row)
    kept = np.abs(row)[codes != 0]
    return codes, float(kept.mean()) if kept.size else 0.0


@pytest.mark.parametrize("group", [0, 32])
def test_one_plane_against_its_definition(weight: torch.Tensor, group: int) -> None:
    codes, scale = absmean(weight, group=group)
    size = group or 96
    assert codes.shape == (1, 9, 96)
    assert scale.shape == (1, 96 // size, 9)
    for row in range(9):
        for index in range(96 // size):
            columns = slice(index * size, (index + 1) * size)
            want, factor = by_hand(weight[row, columns].double().numpy())
            assert np.array_equal(codes[0, row, columns].numpy(), want)
            assert scale[0, index, row].item() == pytest.approx(factor, rel=1e-6)


def test_a_half_of_the_mean_goes_to_zero() -> None:
    codes, _ = absmean(torch.tensor([[1.0, -1.0, 0.5, 1.5]]))  # the mean is 1
    assert codes.tolist() == [[[1, -1, 0, 1]]]


@pytest.mark.parametrize(("planes", "group"), SETTINGS)
def test_codes_are_ternary_and_scales_the_best_for_them(
    weight: torch.Tensor, planes: int, group: int
) -> None:
    ternary = absmean(weight.double(), planes=planes, group=group)
    assert set(ternary.codes_POK.unique().tolist()) <= {-1.0, 0.0, 1.0}
    rest = weight.double() - ternary.dense()
    # A stationary point: what is left over is orthogonal to every plane, row and group.
    slopes = (rest * ternary.codes_POK).view(planes, 9, ternary.scale_PGO.shape[1], -1).sum(-1)
    assert slopes.abs().max() < 1e-10


@pytest.mark.parametrize("group", [0, 32])
def test_a_second_plane_and_smaller_groups_come_closer(weight: torch.Tensor, group: int) -> None:
    def error(planes: int, group: int) -> float:
        return float((weight - absmean(weight, planes=planes, group=group).dense()).norm())

    assert error(2, group) < 0.75 * error(1, group)
    assert error(2, 32) < error(2, 0)


def test_planes_that_coincide_keep_their_scales() -> None:
    # One value everywhere: the first plane is exact, the second empty, the fit has no answer.
    ternary = absmean(torch.full((2, 8), 0.25), planes=2)
    assert torch.equal(ternary.dense(), torch.full((2, 8), 0.25))
    assert ternary.scale_PGO[1].abs().max() == 0


def test_scaling_and_turning_the_sign(weight: torch.Tensor) -> None:
    one, other = absmean(weight, planes=2), absmean(-4 * weight, planes=2)
    assert torch.equal(one.codes_POK, -other.codes_POK)
    assert torch.equal(4 * one.scale_PGO, other.scale_PGO)


def test_a_row_of_zeros_is_zero(weight: torch.Tensor) -> None:
    assert absmean(weight, planes=2).dense()[4].abs().max() == 0
    assert absmean(weight, group=32).scale_PGO[0, 0, 5] == 0


def test_wrong_settings_are_named(weight: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="planes = 3"):
        absmean(weight, planes=3)
    with pytest.raises(ValueError, match="group = 64: must divide the 96 columns"):
        absmean(weight, group=64)
    with pytest.raises(ValueError, match="group = -32"):
        absmean(weight, group=-32)


@pytest.mark.parametrize("group", [0, 32])
def test_twn_against_its_definition(weight: torch.Tensor, group: int) -> None:
    codes, scale = twn(weight, factor=0.7, group=group)
    size = group or 96
    for row in range(9):
        for index in range(96 // size):
            columns = slice(index * size, (index + 1) * size)
            part = weight[row, columns].double().numpy()
            kept = np.abs(part) > 0.7 * np.abs(part).mean()
            assert np.array_equal(codes[0, row, columns].numpy(), np.sign(part) * kept)
            want = np.abs(part)[kept].mean() if kept.any() else 0.0
            assert scale[0, index, row].item() == pytest.approx(want, rel=1e-6)


def test_twn_at_a_half_is_absmean(weight: torch.Tensor) -> None:
    for one, other in zip(twn(weight, factor=0.5), absmean(weight), strict=True):
        assert torch.equal(one, other)


def test_errors_on_gaussian_weights() -> None:
    gaussian = torch.randn(1, 1 << 16, generator=torch.Generator().manual_seed(0))

    def error(factor: float) -> float:
        rest = gaussian - twn(gaussian, factor=factor).dense()
        return float(rest.square().mean() / gaussian.square().mean())

    assert error(0.5) == pytest.approx(0.213, abs=0.005)
    assert error(0.7) == pytest.approx(0.19, abs=0.005)
    assert error(0.75) == pytest.approx(0.19, abs=0.005)


def test_a_row_of_twn_is_scaled_by_itself(weight: torch.Tensor) -> None:
    factor = 2.0 ** torch.arange(9)
    one, other = twn(weight), twn(weight * factor.unsqueeze(-1))
    assert torch.equal(one.codes_POK, other.codes_POK)
    assert torch.equal(one.scale_PGO * factor, other.scale_PGO)


@pytest.mark.parametrize("group", [0, 32])
def test_the_dead_zone_is_where_absmean_is_zero(weight: torch.Tensor, group: int) -> None:
    dead = dead_zone(weight, group=group)
    assert torch.equal(dead, absmean(weight, group=group).codes_POK[0] == 0)
    assert dead_zone(torch.tensor([[1.0, -1.0, 0.5, 1.5]])).tolist() == [[0, 0, 1, 0]]


def test_sharing() -> None:
    matrix = torch.arange(6.0).view(2, 3)
    assert sharing(matrix, "row") is matrix
    assert sharing(matrix, "tensor").tolist() == [[0, 1, 2, 3, 4, 5]]
    with pytest.raises(ValueError, match="granularity = 'group': must be 'row' or 'tensor'"):
        sharing(matrix, "group")


def test_zones_and_their_means() -> None:
    matrix = torch.tensor([[3.0, 1.0, -2.0, 5.0], [-4.0, 0.5, -6.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    codes = zones(matrix, torch.full((3, 1), 1.0))
    assert codes.tolist() == [[1, 0, -1, 1], [-1, 0, -1, 0], [0, 0, 0, 0]]
    positive, negative = zone_means(matrix, codes)
    assert torch.allclose(positive, torch.tensor([[4.0], [5.0], [1e-6]]))
    assert torch.allclose(negative, torch.tensor([[2.0], [5.0], [1e-6]]))


def by_detaching(x: torch.Tensor, step: torch.Tensor, factor: float) -> torch.Tensor:
    """LSQ as autograd sees it, with a round and a scaled step that are straight-through."""
    step = step * factor + (step - step * factor).detach()
    v = (x / step).clamp(-1, 1)
    return step * (v + (v.round() - v).detach())


@pytest.mark.parametrize("shape", [(1, 1), (9, 1), (96,)])
def test_a_learned_step_against_autograd(weight: torch.Tensor, shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(3)
    x = weight.double().requires_grad_()
    step = (0.3 + torch.rand(shape, generator=generator)).double().requires_grad_()
    g = torch.randn(9, 96, generator=generator).double()
    ours, theirs = learned_step(x, step, step_gradient=0.2), by_detaching(x, step, 0.2)
    assert torch.allclose(ours, theirs)
    got, want = (torch.autograd.grad(out, (x, step), g) for out in (ours, theirs))
    for one, other in zip(got, want, strict=True):
        assert one.abs().sum() > 0
        assert torch.allclose(one, other)


def test_a_step_below_the_floor_still_learns() -> None:
    step = torch.tensor([-1.0], requires_grad=True)
    out = learned_step(torch.tensor([1.0, -2.0]), step)
    assert out.tolist() == pytest.approx([1e-6, -1e-6])
    (slope,) = torch.autograd.grad(out, step, torch.tensor([3.0, 1.0]))
    assert slope.item() == 2


def test_the_best_step_is_nearly_the_best(weight: torch.Tensor) -> None:
    found = best_step(weight)
    assert found.shape == (9, 1)
    fine = torch.linspace(0.05, 4, 800).view(-1, 1, 1)
    errors = (weight - fine * (weight / fine).clamp(-1, 1).round()).square().sum(-1)
    ours = (weight - learned_step(weight, found)).square().sum(-1)
    assert (ours <= 1.01 * errors.amin(0) + 1e-9).all()
