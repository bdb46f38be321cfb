from __future__ import annotations

import pytest
import torch
from torch import Tensor

from asnn_goose.model.ternary import AbsMean
from asnn_goose.ops.ternary import absmean


@pytest.mark.parametrize(("planes", "group"), [(1, 0), (2, 0), (1, 32), (2, 32)])
def test_values_of_the_planes_and_a_gradient_unchanged(
    planes: int, group: int, weight_OK: Tensor, g_OK: Tensor
) -> None:
    want_OK = absmean(weight_OK, planes=planes, group=group).dense()
    weight_OK.requires_grad_()
    out_OK = AbsMean(7, 128, planes=planes, group=group)(weight_OK)
    assert torch.equal(out_OK, want_OK)
    assert torch.equal(torch.autograd.grad(out_OK, weight_OK, g_OK)[0], g_OK)


def test_the_shape_may_be_left_out(weight_OK: Tensor) -> None:
    assert torch.equal(AbsMean(planes=2)(weight_OK), AbsMean(7, 128, planes=2)(weight_OK))
