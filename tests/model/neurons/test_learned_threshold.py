from __future__ import annotations

import pytest
import torch
from torch import Tensor

from asnn_goose.model.neurons import LearnedThreshold
from asnn_goose.model.neurons.learned_threshold import JITTER, learned_step
from asnn_goose.ops.surrogate import surrogate


def by_detaching(x: Tensor, s: Tensor, top: int) -> Tensor:
    """LSQ as its paper writes it, with autograd doing the work."""
    factor = (x.numel() / s.numel() * top) ** -0.5
    s = (s - s * factor).detach() + s * factor
    y = (x / s).clamp(-top, top)
    return ((y.round() - y).detach() + y) * s


@pytest.mark.parametrize("size", [1, 64])
@pytest.mark.parametrize("top", [4, 13])
def test_lsq_against_the_detach_trick(size: int, top: int, h_BTK: Tensor) -> None:
    h, dy = h_BTK.double().requires_grad_(), torch.randn(h_BTK.shape, dtype=torch.float64)
    s = (0.15 + 0.1 * torch.rand(size, dtype=torch.float64)).requires_grad_()
    ours, theirs = learned_step(h, s, top=top), by_detaching(h, s, top)
    assert torch.allclose(ours, theirs)
    found, wanted = (torch.autograd.grad(out, (h, s), dy) for out in (ours, theirs))
    assert torch.allclose(found[0], wanted[0])
    assert torch.allclose(found[1], wanted[1])


def test_lsqs_gradient_written_out() -> None:
    h = torch.tensor([0.3, -1.4, 9.0, -9.0], dtype=torch.float64)
    s = torch.tensor([0.5], dtype=torch.float64, requires_grad=True)
    dy = torch.tensor([1.0, 10.0, 100.0, 1000.0], dtype=torch.float64)
    (ds,) = torch.autograd.grad(learned_step(h, s, top=4), s, dy)
    wanted = (1 - 0.6) + 10 * (-3 + 2.8) + 100 * 4 - 1000 * 4
    assert ds.item() == pytest.approx(wanted / (4 * 4) ** 0.5)


def test_the_first_batch_sets_one_step(h_BTK: Tensor) -> None:
    neuron = LearnedThreshold(64, threshold=0.8)
    neuron(h_BTK)
    theta = 0.8 * h_BTK.abs().mean()
    assert neuron.theta is not None
    assert neuron.theta.item() == pytest.approx(theta.item(), rel=1e-5)
    fired = h_BTK.abs()[h_BTK.abs() > theta]
    assert neuron.amplitude.item() == pytest.approx(fired.mean().item(), rel=1e-5)
    neuron(10 * h_BTK)
    assert neuron.theta.item() == pytest.approx(theta.item(), rel=1e-5)


def test_the_first_batch_sets_the_range_of_more(h_BTK: Tensor) -> None:
    neuron = LearnedThreshold(64, steps=3, threshold=3.0)
    neuron(h_BTK)
    assert neuron.theta is None
    wanted = 3 * h_BTK.abs().mean() / 13
    assert neuron.amplitude.item() == pytest.approx(wanted.item(), rel=1e-5)


def test_channels_that_look_alike_start_apart() -> None:
    neuron = LearnedThreshold(64, per="channel")
    neuron(torch.ones(5, 64))
    assert neuron.theta is not None
    assert neuron.theta.shape == neuron.amplitude.shape == (64,)
    assert neuron.amplitude.unique().numel() == 64
    assert (neuron.amplitude - 1).abs().max() <= JITTER + 1e-6
    again = LearnedThreshold(64, per="channel")
    again(torch.ones(5, 64))
    assert torch.equal(again.amplitude, neuron.amplitude)


def test_a_silent_channel_starts_from_the_mean_of_all(h_BTK: Tensor) -> None:
    h = h_BTK.clone()
    h[..., 7] = 0
    neuron = LearnedThreshold(64, per="channel")
    neuron(h)
    assert neuron.theta is not None
    assert neuron.theta[7].item() == pytest.approx(0.7 * h.abs().mean().item(), rel=1e-5)


@pytest.mark.parametrize("per", ["tensor", "channel"])
def test_gradients_of_one_step(per: str, h_BTK: Tensor) -> None:
    neuron = LearnedThreshold(64, per=per, surrogate="atan")
    neuron(h_BTK)
    h, dy = h_BTK.clone().requires_grad_(), torch.randn(h_BTK.shape)
    assert neuron.theta is not None
    dh, dtheta, da = torch.autograd.grad(neuron(h), (h, neuron.theta, neuron.amplitude), dy)
    a, theta, shape = surrogate("atan"), neuron.theta.detach(), neuron.theta.shape
    size = neuron.amplitude.detach()
    above, below = a((h_BTK - theta) / size), a((h_BTK + theta) / size)
    assert torch.allclose(dh, dy * (above + below), atol=1e-5)
    assert torch.allclose(dtheta, (dy * (below - above)).sum_to_size(shape), atol=1e-3)
    q = neuron.encode(h_BTK).q_BK
    assert torch.allclose(da, (dy * q).sum_to_size(shape), atol=1e-3)


def test_numbers_that_fell_below_zero_may_come_back(h_BTK: Tensor) -> None:
    neuron = LearnedThreshold(64, steps=2)
    neuron(h_BTK)
    with torch.no_grad():
        neuron.amplitude.fill_(-1.0)
    out = neuron(h_BTK)
    assert out.isfinite().all()
    assert torch.autograd.grad((out * h_BTK).sum(), neuron.amplitude)[0].item() > 0
    assert neuron.packed()["amplitude"] > 0
