"""Every divergence at one fixed temperature: value and slope against plain formulas in fp64."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from asnn_goose.losses.divergence import hellinger_distance, kl_divergence, log_mixture
from asnn_goose.losses.jsd import JSD
from asnn_goose.losses.kinds import Chunk, VocabLoss
from asnn_goose.losses.kl import KL
from asnn_goose.losses.reverse_kl import ReverseKL
from asnn_goose.losses.skew_kl import SkewKL, SkewReverseKL
from asnn_goose.losses.total_variation import TotalVariation

TAU, ALPHA, BETA = 2.5, 0.2, 0.3


def chunk(tokens: int = 4) -> Chunk:
    labels_n = torch.zeros(tokens, dtype=torch.int64)
    return Chunk(labels_n=labels_n, mask_n=torch.ones(tokens, dtype=torch.bool), progress=0.0)


def kl(a: Tensor, b: Tensor) -> Tensor:
    return (a * (a / b).log()).sum(-1)


def jsd(p: Tensor, q: Tensor) -> Tensor:
    m = BETA * p + (1 - BETA) * q
    return BETA * kl(p, m) + (1 - BETA) * kl(q, m)


CASES: dict[str, tuple[VocabLoss, Callable[[Tensor, Tensor], Tensor]]] = {
    "kl": (KL(temperature=TAU), lambda p, q: TAU**2 * kl(p, q)),
    "reverse_kl": (ReverseKL(temperature=TAU), lambda p, q: TAU**2 * kl(q, p)),
    "jsd": (JSD(beta=BETA, temperature=TAU), lambda p, q: TAU**2 * jsd(p, q)),
    "skew_kl": (
        SkewKL(alpha=ALPHA, temperature=TAU),
        lambda p, q: TAU**2 * kl(p, ALPHA * p + (1 - ALPHA) * q),
    ),
    "skew_reverse_kl": (
        SkewReverseKL(alpha=ALPHA, temperature=TAU),
        lambda p, q: TAU**2 * kl(q, (1 - ALPHA) * p + ALPHA * q),
    ),
    "total_variation": (
        TotalVariation(temperature=TAU),
        lambda p, q: TAU * 0.5 * (p - q).abs().sum(-1),
    ),
}


@pytest.mark.parametrize("name", sorted(CASES))
def test_values_and_slopes(name: str) -> None:
    loss, formula = CASES[name]
    generator = torch.Generator().manual_seed(3)
    z, target = torch.randn(2, 4, 7, generator=generator, dtype=torch.float64).unbind()

    def plain(z: Tensor) -> Tensor:
        return formula(torch.softmax(target / TAU, -1), torch.softmax(z / TAU, -1))

    leaf = z.float().requires_grad_()
    found = loss(leaf, target.float(), chunk())
    assert torch.allclose(found.double(), plain(z), atol=1e-5)
    (found * torch.arange(1.0, 5.0)).sum().backward()
    assert leaf.grad is not None
    for token, word in ((0, 0), (1, 6), (3, 2)):
        step = torch.zeros_like(z)
        step[token, word] = 1e-5
        slope = ((plain(z + step) - plain(z - step)) / 2e-5 * torch.arange(1.0, 5.0)).sum()
        assert float(leaf.grad[token, word]) == pytest.approx(float(slope), rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("name", sorted(CASES))
def test_the_same_distributions_cost_nothing(name: str) -> None:
    z = torch.randn(4, 7)
    assert float(CASES[name][0](z, z + 3.0, chunk()).abs().max()) < 1e-5


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_missing_teacher_is_named(name: str) -> None:
    with pytest.raises(ValueError, match="needs teacher logits"):
        CASES[name][0](torch.zeros(4, 7), None, chunk())


@pytest.mark.parametrize("loss", [KL, ReverseKL, JSD, SkewKL, SkewReverseKL, TotalVariation])
def test_gradients_keep_their_size_at_high_temperature(loss: type[VocabLoss]) -> None:
    norms = []
    for temperature in (20.0, 80.0):
        z = torch.randn(4, 9, generator=torch.Generator().manual_seed(0)).requires_grad_()
        target = torch.randn(4, 9, generator=torch.Generator().manual_seed(1))
        loss(temperature=temperature)(z, target, chunk()).sum().backward()
        assert z.grad is not None
        norms.append(float(z.grad.norm()))
    assert norms[1] == pytest.approx(norms[0], rel=0.15)


def test_a_mixture_is_that_of_probabilities() -> None:
    log_a, log_b = torch.randn(2, 3, 5).log_softmax(-1).unbind()
    wanted = (0.3 * log_a.exp() + 0.7 * log_b.exp()).log()
    assert torch.allclose(log_mixture(log_a, log_b, 0.3), wanted, atol=1e-6)
    assert log_mixture(log_a, log_b, 1.0) is log_a
    assert log_mixture(log_a, log_b, 0.0) is log_b


def test_hellinger_distance_over_more_rows_than_fit_at_once() -> None:
    log_a, log_b = torch.randn(2, 19, 5).log_softmax(-1).unbind()
    wanted = (0.5 * (log_a.exp().sqrt() - log_b.exp().sqrt()).square().sum(-1)).sqrt()
    assert torch.allclose(hellinger_distance(log_a, log_b), wanted, atol=1e-6)
    apart = torch.tensor([[0.0, -200.0]]), torch.tensor([[-200.0, 0.0]])
    assert float(hellinger_distance(*apart)) == pytest.approx(1.0)
    assert float(kl_divergence(*apart)) == pytest.approx(200.0)
