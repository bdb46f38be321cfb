from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from asnn_goose.losses.divergence import ROWS, kl_divergence
from asnn_goose.losses.tempered import tempered_kl, tempered_reverse_kl

Tempered = Callable[[Tensor, Tensor, Tensor], Tensor]
TOKENS = ROWS + 3
BOTH = [tempered_kl, tempered_reverse_kl]


def draw() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(4)
    z, target = torch.randn(2, TOKENS, 6, generator=generator, dtype=torch.float64).unbind()
    tau_n = 0.5 + 2 * torch.rand(TOKENS, generator=generator, dtype=torch.float64)
    return z.requires_grad_(), target, tau_n.requires_grad_()


@pytest.mark.parametrize("loss", BOTH)
def test_values_are_those_of_the_formula(loss: Tempered) -> None:
    z, target, tau_n = draw()
    log_q, log_p = ((x / tau_n[:, None]).log_softmax(-1) for x in (z, target))
    pair = (log_p, log_q) if loss is tempered_kl else (log_q, log_p)
    assert torch.allclose(loss(z, target, tau_n), kl_divergence(*pair), atol=1e-12)


@pytest.mark.parametrize("loss", BOTH)
def test_gradients_against_finite_differences(loss: Tempered) -> None:
    z, target, tau_n = draw()
    assert torch.autograd.gradcheck(lambda z, tau: loss(z, target, tau), (z, tau_n))


@pytest.mark.parametrize("loss", BOTH)
def test_a_second_pass_finds_the_same_gradient(loss: Tempered) -> None:
    z, target, tau_n = draw()
    value = loss(z, target, tau_n.detach()).sum()
    first, second = (torch.autograd.grad(value, z, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("loss", BOTH)
def test_autocast_changes_nothing(loss: Tempered) -> None:
    found = []
    for enabled in (False, True):
        z, target, tau_n = (x.detach().float() for x in draw())
        z, tau_n = z.requires_grad_(), tau_n.requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            value_n = loss(z, target, tau_n)
        found.append([value_n, *torch.autograd.grad(value_n.sum(), (z, tau_n))])
    assert all(torch.equal(left, right) for left, right in zip(*found, strict=True))
