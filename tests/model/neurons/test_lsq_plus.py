"""LSQ+ for activations: its start, its gradients, and what an offset is for."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from asnn_goose.model.neurons import NEURONS, LearnedThreshold, LSQPlusSpikes
from asnn_goose.model.neurons.lsq_plus import SAMPLE
from asnn_goose.ops.ternary import best_affine


@pytest.fixture
def one_sided_BK(gaussian_BK: Tensor) -> Tensor:
    """As behind a relu with a shift: nothing below -0.3."""
    return gaussian_BK.clamp_min(0) - 0.3


def started(h_BK: Tensor, **settings: object) -> LSQPlusSpikes:
    neuron = LSQPlusSpikes(64, **settings)  # type: ignore[arg-type]
    neuron(h_BK)
    return neuron


@pytest.mark.parametrize("steps", [1, 2])
def test_gradients_are_those_of_the_detach_trick(steps: int, gaussian_BK: Tensor) -> None:
    """x^ = s round(clip(v)) + b with v = (h - b) / s, and round passed straight through."""
    neuron = started(gaussian_BK, steps=steps)
    with torch.no_grad():
        neuron.amplitude.mul_(0.6)  # so that a good part is clipped
        neuron.offset.add_(0.1)
    weight_BK = torch.randn(gaussian_BK.shape, generator=torch.Generator().manual_seed(3))
    h = gaussian_BK.clone().requires_grad_()
    out_BK = neuron(h)
    found = torch.autograd.grad((out_BK * weight_BK).sum(), (h, *neuron.parameters()))
    x, s, b = (t.detach().clone().requires_grad_() for t in (h, *neuron.parameters()))
    v = ((x - b) / s).clamp(-neuron.levels, neuron.levels)
    again_BK = s * (v + (v.round() - v).detach()) + b
    wanted = list(torch.autograd.grad((again_BK * weight_BK).sum(), (x, s, b)))
    wanted[1] = wanted[1] / (h.numel() * neuron.levels) ** 0.5
    torch.testing.assert_close(out_BK.detach(), again_BK.detach())
    # The sums are over thousands of numbers of both signs.
    torch.testing.assert_close(found, tuple(wanted), rtol=1e-3, atol=1e-3)


def test_an_offset_of_zero_is_lsq(gaussian_BK: Tensor) -> None:
    plus, plain = started(gaussian_BK, steps=2), LearnedThreshold(64, steps=2)
    plain(gaussian_BK)
    with torch.no_grad():
        plus.offset.zero_()
        plus.amplitude.copy_(plain.amplitude)
    h, again = (gaussian_BK.clone().requires_grad_() for _ in range(2))
    found = torch.autograd.grad(plus(h).square().sum(), (h, plus.amplitude))
    wanted = torch.autograd.grad(plain(again).square().sum(), (again, plain.amplitude))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_it_starts_where_the_error_is_least(one_sided_BK: Tensor) -> None:
    neuron = started(one_sided_BK)
    amplitude, offset = float(neuron.amplitude), float(neuron.offset)

    def error(a: float, b: float) -> float:
        with torch.no_grad():
            neuron.amplitude.fill_(a)
            neuron.offset.fill_(b)
        return float((neuron.eval()(one_sided_BK) - one_sided_BK).square().mean())

    least = error(amplitude, offset)
    for a, b in ((1.3, 0.0), (0.7, 0.0), (1.0, 0.3), (1.0, -0.3)):
        assert error(a * amplitude, offset + b * amplitude) > least
    # What lies to one side is coded better around an offset than around zero.
    assert min(error(a * amplitude, 0.0) for a in (0.5, 0.75, 1.0, 1.5, 2.0)) > 1.2 * least


def test_a_start_per_channel_is_each_channels_own(gaussian_BK: Tensor) -> None:
    h_BK = gaussian_BK * torch.linspace(0.1, 3, 64) + torch.linspace(-2, 2, 64)
    neuron = started(h_BK, per="channel")
    step_K1, offset_K1 = best_affine(h_BK.T[:, :: -(-512 // 256)], top=1)
    torch.testing.assert_close(neuron.amplitude.detach(), step_K1[:, 0])
    torch.testing.assert_close(neuron.offset.detach(), offset_K1[:, 0])
    assert float(neuron.amplitude[-1] / neuron.amplitude[0]) == pytest.approx(30, rel=0.5)


def test_a_start_for_the_tensor_is_that_of_all_channels(gaussian_BK: Tensor) -> None:
    h_BK = gaussian_BK * torch.linspace(0.1, 3, 64) + torch.linspace(-2, 2, 64)
    neuron = started(h_BK)
    every = -(-h_BK.numel() // SAMPLE)
    step_11, offset_11 = best_affine(h_BK.T.reshape(1, -1)[:, ::every], top=1)
    torch.testing.assert_close(neuron.amplitude.detach(), step_11[0])
    torch.testing.assert_close(neuron.offset.detach(), offset_11[0])
    assert float(step_11) > 5 * float(best_affine(h_BK.T[:1], top=1)[0])


def test_training_finds_a_better_offset(one_sided_BK: Tensor) -> None:
    neuron = started(one_sided_BK)
    with torch.no_grad():
        neuron.offset.add_(0.4)
    optimiser = torch.optim.Adam(neuron.parameters(), lr=0.02)
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        loss = (neuron(one_sided_BK) - one_sided_BK).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(float(loss))
    assert losses[-1] < 0.8 * losses[0]


def test_the_engine_refuses_it_by_name() -> None:
    with pytest.raises(
        ValueError, match="LSQPlusSpikes is training-only: the engine's codes have no"
    ):
        NEURONS["lsq_plus"](8).packed()
