from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from asnn_goose.model.ternary import AbsMean, TerDiT

BOTH = pytest.mark.parametrize("granularity", ["row", "tensor"])


def made(weight_OK: Tensor, granularity: str) -> TerDiT:
    method = TerDiT(7, 128, granularity=granularity).to(weight_OK.dtype)
    method.start_(weight_OK)
    with torch.no_grad():
        method.alpha_R1.mul_(1.5)
    return method


@BOTH
def test_values_and_gradients(granularity: str, weight_OK: Tensor, g_OK: Tensor) -> None:
    weight_OK, g_OK = weight_OK.double().requires_grad_(), g_OK.double()
    method = made(weight_OK, granularity)
    size_OK = weight_OK.detach().abs()
    mean = size_OK.mean() if granularity == "tensor" else size_OK.mean(-1, keepdim=True)
    codes_OK = (weight_OK.detach() / (mean + 1e-6)).round().clamp(-1, 1)
    out_OK = method(weight_OK)
    assert torch.equal(out_OK, codes_OK * method.alpha_R1)
    dweight_OK, dalpha_R1 = torch.autograd.grad(out_OK, (weight_OK, method.alpha_R1), g_OK)
    assert torch.equal(dweight_OK, g_OK * method.alpha_R1)
    axes = (0, 1) if granularity == "tensor" else 1
    assert torch.allclose(dalpha_R1.flatten(), (g_OK * codes_OK).sum(axes).flatten())


def test_it_starts_where_absmean_is(weight_OK: Tensor) -> None:
    method = TerDiT(7, 128)
    method.start_(weight_OK)
    assert torch.allclose(method(weight_OK), AbsMean(7, 128)(weight_OK), atol=1e-5)
    assert (method.alpha_R1 > 0).all()


def test_a_normalisation_behind_it_forgets_alpha(weight_OK: Tensor) -> None:
    method = made(weight_OK.double(), "tensor")
    x_BK = torch.randn(5, 128, generator=torch.Generator().manual_seed(2)).double()

    def normed() -> Tensor:
        return F.rms_norm(F.linear(x_BK, method(weight_OK.double())), (7,), eps=1e-12)

    before_BO = normed()
    with torch.no_grad():
        method.alpha_R1.mul_(37.0)
    assert torch.allclose(normed(), before_BO)


def test_alpha_stays_positive_and_comes_up_again(weight_OK: Tensor, g_OK: Tensor) -> None:
    method = TerDiT(7, 128)
    with torch.no_grad():
        method.alpha_R1.fill_(-1)
    out_OK = method(weight_OK)
    assert out_OK.max().item() == pytest.approx(1e-6)
    assert method.planes_of(weight_OK).scale_PGO.min().item() == pytest.approx(1e-6)
    out_OK.backward(g_OK)
    assert method.alpha_R1.grad is not None
    assert method.alpha_R1.grad.abs().sum() > 0
