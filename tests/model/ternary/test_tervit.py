from __future__ import annotations

import pytest
import torch
from torch import Tensor

from asnn_goose.model.ternary import TWN, TerViT


@pytest.mark.parametrize("group", [0, 32])
def test_eight_bits_first_and_then_ternary(group: int, weight_OK: Tensor) -> None:
    method = TerViT(7, 128, group=group, eight_bit=0.25)
    ternary_OK = TWN(7, 128, group=group)(weight_OK)
    method.anneal(0.24)
    early_OK = method(weight_OK)
    # Half a step of max |row| / 127 at most, and no row is left without its 127.
    parts = [x.view(7, -1, group or 128) for x in (weight_OK, early_OK)]
    step_OG = parts[0].abs().amax(-1) / 127
    assert ((parts[1] - parts[0]).abs().amax(-1) <= 0.5001 * step_OG).all()
    assert torch.equal(parts[1].abs().amax(-1), 127 * step_OG)
    assert not torch.equal(early_OK, weight_OK)
    method.anneal(0.25)
    assert torch.equal(method(weight_OK), ternary_OK)
    method.anneal(0.0)
    assert torch.equal(method.eval()(weight_OK), ternary_OK)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_gradient_is_straight_through(share: float, weight_OK: Tensor, g_OK: Tensor) -> None:
    method = TerViT(7, 128)
    method.anneal(share)
    weight_OK.requires_grad_()
    assert torch.equal(torch.autograd.grad(method(weight_OK), weight_OK, g_OK)[0], g_OK)


def test_a_row_is_scaled_by_itself(weight_OK: Tensor) -> None:
    method, scaled_OK = TerViT(7, 128), weight_OK.clone()
    scaled_OK[2] *= 8
    one, other = method.planes_of(weight_OK), method.planes_of(scaled_OK)
    factor_O = torch.tensor([1.0, 1, 8, 1, 1, 1, 1])
    assert torch.equal(one.codes_POK, other.codes_POK)
    assert torch.equal(one.scale_PGO * factor_O, other.scale_PGO)


def test_settings_that_make_no_sense() -> None:
    with pytest.raises(ValueError, match=r"eight_bit = 1\.5: must be 0 to 1"):
        TerViT(8, 64, eight_bit=1.5)
    with pytest.raises(ValueError, match=r"factor = -1: must be above 0"):
        TerViT(8, 64, factor=-1)
