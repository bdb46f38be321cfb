"""CAT-Q's factors against numbers by hand, and codes that begin as weights and harden."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from asnn_goose.model.ternary import AbsMean, CatQ
from asnn_goose.ops.soft_codes import soft_codes


def at(share: float, **settings: Any) -> CatQ:
    method = CatQ(7, 128, **settings)
    method.anneal(share)
    return method


def test_it_begins_as_absmean_around_the_mean(weight_OK: Tensor) -> None:
    centred_OK = weight_OK - weight_OK.mean(-1, keepdim=True)
    assert torch.allclose(CatQ(7, 128)(weight_OK), AbsMean(7, 128)(centred_OK), atol=1e-6)
    grouped = AbsMean(7, 64, group=64)(weight_OK[:, :64] - weight_OK[:, :64].mean(-1, keepdim=True))
    assert torch.allclose(CatQ(7, 128, group=64)(weight_OK)[:, :64], grouped, atol=1e-6)


def test_factors_by_hand() -> None:
    """Mean 0, s = 2: v = W / 2 - tanh a, threshold sigmoid c, scale 2 sigmoid(b) s mean |v|."""
    method, weight_OK = CatQ(1, 4), torch.tensor([[4.0, -1.0, 0.0, -3.0]])
    with torch.no_grad():
        method.threshold_OG1.fill_(torch.logit(torch.tensor(0.6)))
        method.scale_OG1.fill_(torch.logit(torch.tensor(0.25)))
    # v = 2, -0.5, 0, -1.5; above .6: the first and the last, whose mean is 1.75 s = 3.5.
    assert torch.allclose(method(weight_OK), torch.tensor([[1.75, 0.0, 0.0, -1.75]]))
    with torch.no_grad():
        method.shift_OG1.fill_(torch.atanh(torch.tensor(0.2)))
    # v = 1.8, -0.7, -0.2, -1.7: the second is coded now; mean (1.8 + .7 + 1.7) / 3 = 1.4 s.
    assert torch.allclose(method(weight_OK), torch.tensor([[1.4, -1.4, 0.0, -1.4]]))


def test_codes_begin_as_weights_cut_off_and_harden() -> None:
    v = torch.tensor([-1.7, -0.6, -0.2, 0.0, 0.45, 0.55, 0.9])
    half = torch.tensor(0.5)
    assert torch.allclose(soft_codes(v, half, width=1.0), v.clamp(-1, 1))
    ramp = torch.tensor([-1.0, -0.7, 0.0, 0.0, 0.4, 0.6, 1.0])
    assert torch.allclose(soft_codes(v, half, width=0.5), ramp, atol=1e-6)
    assert soft_codes(v, half, width=0.0).tolist() == [-1, -1, 0, 0, 0, 1, 1]


def test_the_ramp_narrows_until_its_share(weight_OK: Tensor) -> None:
    widths = [at(share, until=0.8).width for share in (0.0, 0.4, 0.8, 1.0)]
    assert widths == pytest.approx([1.0, 0.5, 0.0, 0.0])
    assert at(0.1).eval().width == 0
    hard_OK = at(1.0)(weight_OK)
    away = [(at(share)(weight_OK) - hard_OK).norm() for share in (0.0, 0.3, 0.6, 0.8)]
    assert away[0] > away[1] > away[2] > away[3] == 0


@pytest.mark.parametrize("width", [0.0, 0.5, 1.0])
def test_gradients_of_codes(width: float) -> None:
    """Straight through to v; at theta = .5 those within half a unit of a jump move it."""
    v = torch.tensor([-1.4, -0.8, 0.2, 0.6, 1.2], requires_grad=True)
    theta = torch.tensor(0.5, requires_grad=True)
    g = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0])
    soft_codes(v, theta, width=width).backward(g)
    assert torch.equal(v.grad, g)
    # A higher threshold takes codes of 1 to 0 and of -1 to 0: -(4 + 8) above, + 2 below.
    assert theta.grad == 2 - (4 + 8)


def test_factors_learn_a_target_that_absmean_cannot_be() -> None:
    torch.manual_seed(0)
    weight_OK = torch.randn(4, 64)
    target_OK = 0.3 * weight_OK.sign() * (weight_OK.abs() > 0.6)
    method = CatQ(4, 64, until=0.8)
    optimiser = torch.optim.Adam(method.parameters(), lr=0.05)
    first = (method(weight_OK) - target_OK).square().mean()
    for step in range(150):
        method.anneal(step / 150)
        optimiser.zero_grad()
        loss = (method(weight_OK) - target_OK).square().mean()
        loss.backward()
        optimiser.step()
    assert loss < 0.05 * first
    assert (method.planes_of(weight_OK).codes_POK[0] == target_OK.sign()).float().mean() > 0.97


def test_it_starts_anew(weight_OK: Tensor) -> None:
    method = CatQ(7, 128)
    with torch.no_grad():
        method.scale_OG1.fill_(3.0)
    method.start_(weight_OK)
    assert not any(factor.any() for factor in method.parameters())


@pytest.mark.parametrize("until", [-0.1, 1.5])
def test_a_share_that_there_is_not(until: float) -> None:
    with pytest.raises(ValueError, match=f"until = {until}: must be 0 to 1"):
        CatQ(8, 64, until=until)
