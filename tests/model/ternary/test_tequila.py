from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from asnn_goose.model.ternary import AbsMean, Tequila
from asnn_goose.ops.ternary import absmean

GROUPS = pytest.mark.parametrize("group", [0, 32])


@pytest.fixture
def x_BTK() -> Tensor:
    return torch.randn(2, 5, 128, generator=torch.Generator().manual_seed(2))


def bias_of(method: Tequila, weight_OK: Tensor) -> Tensor:
    bias_O = method.bias(weight_OK)
    assert bias_O is not None
    return bias_O


@GROUPS
def test_the_bias_sums_the_dead_zone(group: int, weight_OK: Tensor) -> None:
    method = Tequila(7, 128, group=group, strength=0.25)
    dead_OK = method.planes_of(weight_OK).codes_POK[0] == 0
    want_O = 0.25 * (weight_OK.double() * dead_OK).sum(-1)
    assert torch.allclose(bias_of(method, weight_OK).double(), want_O, atol=1e-6)
    # Half the mean of the row or group, and not the codes' own word for it.
    size_OGC = weight_OK.abs().view(7, -1, group or 128)
    below_OK = (size_OGC <= size_OGC.mean(-1, keepdim=True) / 2).view(7, 128)
    assert torch.equal(below_OK, dead_OK)


@GROUPS
def test_weights_in_the_dead_zone_have_a_second_path(
    group: int, weight_OK: Tensor, x_BTK: Tensor
) -> None:
    method = Tequila(7, 128, group=group, strength=0.25)
    dy_BTO = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(3))
    weight_OK.requires_grad_()
    y_BTO = F.linear(x_BTK, method(weight_OK), method.bias(weight_OK))
    (dweight_OK,) = torch.autograd.grad(y_BTO, weight_OK, dy_BTO)
    dead_OK = absmean(weight_OK.detach(), group=group).codes_POK[0] == 0
    through_OK = torch.einsum("bto,btk->ok", dy_BTO, x_BTK)
    want_OK = through_OK + 0.25 * dead_OK * dy_BTO.sum((0, 1)).unsqueeze(-1)
    assert torch.allclose(dweight_OK, want_OK, atol=1e-5)


def test_without_strength_it_is_absmean(weight_OK: Tensor) -> None:
    method = Tequila(7, 128, strength=0)
    assert method.bias(weight_OK) is None
    assert torch.equal(method(weight_OK), AbsMean(7, 128)(weight_OK))


def test_the_folded_bias_says_what_training_says(weight_OK: Tensor, x_BTK: Tensor) -> None:
    method = Tequila(7, 128, strength=0.25)
    trained_BTO = F.linear(x_BTK, method(weight_OK), method.bias(weight_OK))
    method.eval()
    matrix_OK = method.planes_of(weight_OK).dense()
    constant_O = bias_of(method, weight_OK).detach().clone()
    assert torch.equal(F.linear(x_BTK, matrix_OK, constant_O), trained_BTO)


def test_the_dead_zone_is_that_of_the_weights_at_hand(weight_OK: Tensor) -> None:
    method = Tequila(7, 128, strength=1.0)
    before_O = bias_of(method, weight_OK)
    moved_OK = weight_OK.clone()
    column = int(weight_OK[0].abs().argmin())
    moved_OK[0, column] = 10.0  # out of the dead zone, whose bound moves too
    after_O = bias_of(method, moved_OK)
    assert torch.equal(after_O[1:], before_O[1:])
    dead_K = moved_OK[0].abs() <= moved_OK[0].abs().mean() / 2
    assert not dead_K[column]
    assert torch.allclose(after_O[0], moved_OK[0][dead_K].sum(), atol=1e-6)
    assert not torch.equal(after_O[0], before_O[0])


def test_a_negative_strength_is_refused() -> None:
    with pytest.raises(ValueError, match=r"strength = -1: must be 0 or more"):
        Tequila(8, 64, strength=-1)
