from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from asnn_goose.losses.adakd import AdaKD
from asnn_goose.losses.divergence import hellinger_distance, kl_divergence
from asnn_goose.losses.kinds import Chunk, VocabLoss
from asnn_goose.losses.kl import KL
from asnn_goose.losses.reverse_kl import ReverseKL

TOKENS, WORDS = 7, 9


def step(loss: AdaKD, *means: float, progress: float) -> None:
    """A training step of as many micro-batches."""
    counts_n = torch.zeros(2)
    for mean in means:
        loss.finish(torch.tensor(mean), progress=progress)
        counts_n += loss.take_counts()
    loss.go_on(counts_n)


def chunk(mask_n: Tensor | None = None) -> Chunk:
    mask_n = torch.ones(TOKENS, dtype=torch.bool) if mask_n is None else mask_n
    return Chunk(labels_n=torch.zeros(TOKENS, dtype=torch.int64), mask_n=mask_n, progress=0.5)


def logits() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    z, target = torch.randn(2, TOKENS, WORDS, generator=generator).unbind()
    return z.requires_grad_(), target


def difficulty() -> Tensor:
    log_q, log_p = (torch.log_softmax(x.detach(), -1) for x in logits())
    return hellinger_distance(log_q, log_p)


@pytest.mark.parametrize(("base", "plain"), [("kl", KL), ("reverse_kl", ReverseKL)])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_without_c_and_with_every_token_it_is_the_base(
    base: str, plain: type[KL | ReverseKL], temperature: float
) -> None:
    found, wanted = [], []
    pairs: list[tuple[VocabLoss, list[Tensor]]] = [
        (AdaKD(base=base, c=0.0, temperature=temperature), found),
        (plain(temperature=temperature), wanted),
    ]
    for loss, into in pairs:
        z, target = logits()
        value_n = loss(z, target, chunk())
        into += [value_n, *torch.autograd.grad(value_n.sum(), z)]
    assert torch.allclose(found[0], wanted[0], atol=1e-5)
    assert torch.allclose(found[1], wanted[1], atol=1e-5)


def test_temperatures_are_those_of_the_paper() -> None:
    s_n = difficulty()
    found = AdaKD(temperature=1.5, c=0.5)._temperatures(s_n, chunk().mask_n)
    order = s_n.argsort()
    assert float(found[order[TOKENS // 2]]) == 1.5  # the median token
    assert bool((found[order].diff() < 0).all())  # harder is sharper
    wanted = 1.5 * torch.exp(-0.5 * torch.tanh(torch.log(s_n / s_n.median())))
    assert torch.allclose(found, wanted)
    far = torch.tensor([0.0, 0.5, 1.0, 0.5, 0.5, 0.5, 0.5])
    bounds = AdaKD()._temperatures(far, chunk().mask_n)
    assert math.exp(-0.5) <= float(bounds.min())
    assert float(bounds.max()) <= math.exp(0.5) + 1e-6


def test_no_gradient_goes_through_the_temperature() -> None:
    z, target = logits()
    (found,) = torch.autograd.grad(AdaKD()(z, target, chunk()).sum(), z)
    tau_n = AdaKD()._temperatures(difficulty(), chunk().mask_n)
    log_q, log_p = (torch.log_softmax(x / tau_n[:, None], -1) for x in (z, target))
    (wanted,) = torch.autograd.grad((tau_n**2 * kl_divergence(log_q, log_p)).sum(), z)
    assert torch.allclose(found, wanted, atol=1e-6)


def test_the_hardest_share_is_kept_and_weighs_for_all() -> None:
    mask_n = torch.tensor([True, True, True, True, False, True, True])
    loss = AdaKD(c=0.0)
    loss.kept.fill_(0.5)
    z, target = logits()
    found = loss(z, target, chunk(mask_n))
    hardest = difficulty().masked_fill(~mask_n, -1.0).topk(3).indices
    assert set(found.nonzero().flatten().tolist()) == set(hardest.tolist())
    plain = ReverseKL()(z, target, chunk())
    assert float((found.detach() * mask_n).sum() / 6) == pytest.approx(
        float(plain.detach()[hardest].mean()), rel=1e-5
    )


def test_a_chunk_where_nothing_counts_costs_nothing() -> None:
    z, target = logits()
    found = AdaKD()(z, target, chunk(torch.zeros(TOKENS, dtype=torch.bool)))
    assert not found.any()
    found.sum().backward()
    assert z.grad is not None
    assert not z.grad.any()


def test_the_kept_share_follows_the_running_mean() -> None:
    loss = AdaKD(decay=0.0)  # the running mean is the last one
    steps = [(1.0, 0.0, 1.0), (0.8, 0.2, 1.0), (0.78, 0.3, 1.0), (0.75, 0.3, 0.95)]
    steps += [(0.6, 0.4, 0.95**2), (0.62, 0.5, 0.95**2), (0.7, 0.6, 0.95**2 * 1.05)]
    for mean, progress, kept in steps:
        step(loss, mean, progress=progress)
        assert loss.readings()["kept"] == pytest.approx(kept, rel=1e-6)


@pytest.mark.parametrize(("factor", "kept"), [(0.9, 0.1), (1.1, 1.0)])
def test_the_kept_share_has_bounds(factor: float, kept: float) -> None:
    loss, mean = AdaKD(decay=0.0, warmup=0.0), 1.0
    loss.kept.fill_(0.5)
    for _ in range(60):
        step(loss, mean, progress=0.5)
        mean *= factor
    assert loss.readings()["kept"] == pytest.approx(kept)


def test_the_running_mean() -> None:
    loss = AdaKD(decay=0.75, focus=False)
    for means in ((4.0,), (8.0,)):
        step(loss, *means, progress=1.0)
    assert float(loss.average) == pytest.approx(5.0)
    step(loss, 1.0, 3.0, progress=1.0)  # of two micro-batches
    assert float(loss.average) == pytest.approx(5 * 0.75**2 + 2 * (1 - 0.75**2))
    assert set(loss.state_dict()) == {"kept", "average", "mark"}
    step(loss, 0.1, progress=1.0)
    assert float(loss.kept) == 1.0  # no focus


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"base": "jsd"}, "base = 'jsd'"),
        ({"c": -0.5}, "c = -0.5"),
        ({"temperature": 0.0}, "temperature = 0"),
        ({"epsilon": -0.1}, "epsilon = -0.1"),
        ({"floor": 1.5}, "floor = 1.5"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        AdaKD(**settings)
