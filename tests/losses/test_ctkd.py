from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from asnn_goose.losses.ctkd import CTKD
from asnn_goose.losses.kinds import Chunk
from asnn_goose.losses.kl import KL

TOKENS, WORDS = 6, 11


def chunk(progress: float) -> Chunk:
    labels_n, mask_n = torch.zeros(TOKENS, dtype=torch.int64), torch.ones(TOKENS, dtype=torch.bool)
    return Chunk(labels_n=labels_n, mask_n=mask_n, progress=progress)


def logits() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    z, target = (3 * torch.randn(2, TOKENS, WORDS, generator=generator)).unbind()
    return z.requires_grad_(), target


def gradients(loss: CTKD, *, progress: float) -> tuple[Tensor, list[Tensor]]:
    """Of the student's logits, and of the loss's own parameters."""
    z, target = logits()
    total = loss(z, target, chunk(progress)).mean()
    z_grad, *own = torch.autograd.grad(total, [z, *loss.parameters()])
    return z_grad, own


def ungated(loss: CTKD) -> Tensor:
    """d L / d theta by plain autograd of tau^2 KL in fp64."""
    assert loss.theta is not None
    z, target = (x.detach().double() for x in logits())
    theta = loss.theta.detach().double().requires_grad_()
    tau = loss.low + (loss.high - loss.low) * torch.sigmoid(loss.gain * theta)
    log_p, log_q = (torch.log_softmax(x / tau, -1) for x in (target, z))
    (tau**2 * (log_p.exp() * (log_p - log_q)).sum(-1)).mean().backward()
    assert theta.grad is not None
    return theta.grad


@pytest.mark.parametrize("preset", ["published", "reference"])
@pytest.mark.parametrize(("reversal", "sign"), [(True, -1), (False, 1)])
@pytest.mark.parametrize("share", [0.5, 1.0])
def test_theta_gets_minus_lambda_times_the_ungated_gradient(
    preset: str, reversal: bool, sign: int, share: float
) -> None:
    loss = CTKD(preset=preset, reversal=reversal, lambda_max=0.7)
    _, (found,) = gradients(loss, progress=loss.hold + share * loss.warmup)
    factor = sign * 0.7 * (1 - math.cos(math.pi * share)) / 2
    assert float(found) == pytest.approx(factor * float(ungated(loss)), rel=1e-3)


@pytest.mark.parametrize("instance", [False, True])
def test_the_students_gradient_does_not_depend_on_lambda(instance: bool) -> None:
    torch.manual_seed(0)
    loss = CTKD(preset="reference", instance=instance)
    if loss.network is not None:
        for parameter in loss.network.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    grads = [gradients(loss, progress=progress)[0] for progress in (0.0, 0.1, 1.0)]
    assert grads[0].any()
    assert all(torch.equal(grad, grads[0]) for grad in grads)


@pytest.mark.parametrize("instance", [False, True])
def test_tau_is_frozen_while_lambda_is_0(instance: bool) -> None:
    loss = CTKD(instance=instance)
    assert not any(grad.any() for grad in gradients(loss, progress=0.0)[1])
    assert any(grad.any() for grad in gradients(loss, progress=1.0)[1])


@pytest.mark.parametrize("theta", [-50.0, -1.0, 0.0, 50.0])
def test_tau_stays_within_its_bounds(theta: float) -> None:
    loss = CTKD(range=[0.5, 3.0], start=1.0)
    assert loss.theta is not None
    loss.theta.data.fill_(theta)
    loss(*logits(), chunk(1.0))
    assert 0.5 <= loss.readings()["temperature"] <= 3.0


@pytest.mark.parametrize("instance", [False, True])
@pytest.mark.parametrize(("preset", "start"), [("published", 15.621), ("reference", 2.0)])
def test_it_starts_as_kl_at_the_start(preset: str, start: float, instance: bool) -> None:
    z, target = logits()
    found = CTKD(preset=preset, instance=instance)(z, target, chunk(0.0))
    assert torch.allclose(found, KL(temperature=start)(z, target, chunk(0.0)), rtol=1e-3)


def test_lambda_rises_along_a_cosine_and_stays() -> None:
    loss = CTKD(warmup=0.2, lambda_max=2.0)
    found = [loss.strength(progress) for progress in (0.0, 0.05, 0.1, 0.2, 0.9)]
    assert found == pytest.approx([0, 1 - math.sqrt(0.5), 1, 2, 2])
    assert CTKD(warmup=0.0).strength(0.0) == 1.0


def test_the_reference_holds_lambda_for_a_fifth_and_raises_it_to_the_end() -> None:
    loss = CTKD(preset="reference")
    found = [loss.strength(progress) for progress in (0.0, 0.1, 0.2, 0.4, 0.6, 1.0)]
    assert found == pytest.approx([0, 0, 0, (1 - math.sqrt(0.5)) / 2, 0.5, 1])
    assert CTKD(hold=0.3, warmup=0.0).strength(0.3) == 1.0


def test_reversal_makes_the_task_harder_and_descent_easier() -> None:
    ends = {}
    for reversal in (True, False):
        loss = CTKD(preset="reference", reversal=reversal, gain=1.0)
        optimiser = torch.optim.SGD(loss.parameters(), lr=0.05)
        for _ in range(10):
            optimiser.zero_grad()
            value = loss(*logits(), chunk(1.0)).mean()
            value.backward()
            optimiser.step()
        ends[reversal] = float(value.detach())
    start = float(CTKD(preset="reference")(*logits(), chunk(1.0)).mean().detach())
    assert ends[False] < start < ends[True]


def test_the_anchor_pulls_without_lambda() -> None:
    loss = CTKD(preset="reference", anchor=1.5, anchor_weight=0.1)
    plain = CTKD(preset="reference")
    z, target = logits()
    extra = loss(z, target, chunk(0.0)) - plain(z, target, chunk(0.0))
    assert torch.allclose(extra, torch.tensor(0.1 * 0.5**2), atol=1e-4)
    _, (found,) = gradients(loss, progress=0.0)
    # d tau / d theta = (tau - low)(high - tau) / (high - low)
    assert float(found) == pytest.approx(loss.gain * 0.1 * 2 * 0.5 * (1.0 * 3.0 / 4.0), rel=1e-4)


def test_each_token_has_its_own_temperature() -> None:
    torch.manual_seed(0)
    loss = CTKD(preset="reference", instance=True)
    assert loss.network is not None
    torch.nn.init.normal_(loss.network[2].weight)
    z, target = logits()
    theta_n = loss._thetas(z, target, chunk(0.0))
    assert theta_n.shape == (TOKENS,)
    assert float(theta_n.detach().std()) > 0.01
    shifted = loss._thetas(z + 5.0, target - 2.0, chunk(0.0))
    assert torch.allclose(shifted, theta_n, atol=1e-4)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"preset": "seed"}, "preset = 'seed'"),
        ({"range": [3.0, 1.0]}, r"range = \[3.0, 1.0\]"),
        ({"range": [0.0, 1.0]}, "0 < low < high"),
        ({"start": 30.0}, r"start = 30.0: must lie inside range = \[1.0, 21.0\]"),
        ({"warmup": 2.0}, "warmup = 2.0"),
        ({"hold": -0.1}, "hold = -0.1: must be a share"),
        ({"hold": 0.3, "warmup": 0.8}, "hold = 0.3 and warmup = 0.8: .* at most 1 together"),
        ({"lambda_max": -1.0}, "lambda_max = -1.0"),
        ({"anchor": 2.0}, "anchor = 2.0 and anchor_weight = 0.0"),
        ({"anchor": 2.0, "anchor_weight": -1.0}, "anchor_weight = -1.0"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        CTKD(**settings)


def test_the_temperature_moves_at_a_students_rate() -> None:
    """At 2e-4 over some hundred steps of AdamW, where theta itself would move by a tenth."""
    loss = CTKD(preset="reference")
    optimiser = torch.optim.AdamW(loss.parameters(), lr=2e-4, weight_decay=0.0)
    start = loss.readings()["temperature"]
    for _ in range(100):
        optimiser.zero_grad()
        loss(*logits(), chunk(1.0)).mean().backward()
        optimiser.step()
    assert abs(loss.readings()["temperature"] - start) > 0.5
    with pytest.raises(ValueError, match="gain = 0"):
        CTKD(gain=0)
