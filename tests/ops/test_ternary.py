from __future__ import annotations

import numpy as np
import pytest
import torch

from asnn_goose.ops.ternary import absmean

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
