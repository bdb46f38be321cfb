from __future__ import annotations

import pytest
import torch
from torch import Tensor

from asnn_goose.model.ternary import TWN
from asnn_goose.ops.ternary import twn


def test_the_gradient_is_straight_through(weight_OK: Tensor, g_OK: Tensor) -> None:
    weight_OK.requires_grad_()
    (dweight_OK,) = torch.autograd.grad(TWN(7, 128)(weight_OK), weight_OK, g_OK)
    assert torch.equal(dweight_OK, g_OK)


def test_a_tensor_is_one_long_row(weight_OK: Tensor) -> None:
    planes = TWN(7, 128, granularity="tensor", factor=0.75).planes_of(weight_OK)
    want = twn(weight_OK.reshape(1, -1), factor=0.75)
    assert torch.equal(planes.codes_POK.flatten(), want.codes_POK.flatten())
    assert torch.equal(planes.scale_PGO, want.scale_PGO.expand(1, 1, 7))


def test_rows_leave_less_than_a_tensor(weight_OK: Tensor) -> None:
    def error(**settings: int | str) -> float:
        return float((TWN(7, 128, **settings)(weight_OK) - weight_OK).square().mean())

    assert error(granularity="row") < 0.9 * error(granularity="tensor")
    assert error(group=32) < error(granularity="row")


def test_settings_that_make_no_sense() -> None:
    with pytest.raises(ValueError, match=r"factor = 0: must be above 0"):
        TWN(8, 64, factor=0)
    with pytest.raises(ValueError, match="group = 32: must be 0 where granularity = 'tensor'"):
        TWN(8, 64, group=32, granularity="tensor")
