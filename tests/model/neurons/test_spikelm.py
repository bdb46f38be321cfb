from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from asnn_goose.model.neurons import SpikeLM
from asnn_goose.model.parts.precision_table import PrecisionTable


def rate(neuron: SpikeLM, h: Tensor) -> float:
    return float((neuron(h) != 0).float().mean())


def test_a_gaussian_fires_at_the_published_rate(gaussian_BK: Tensor) -> None:
    assert rate(SpikeLM(64), gaussian_BK) == pytest.approx(0.425, abs=0.01)


def test_a_larger_multiplier_fires_less(gaussian_BK: Tensor) -> None:
    rates = [rate(SpikeLM(64, multiplier=m), gaussian_BK) for m in (1.0, 1.5, 2.0, 3.0, 4.0)]
    assert all(more > less for more, less in pairwise(rates))


@pytest.mark.parametrize("threshold", [0.5, 1.0, 1.7])
def test_it_fires_above_the_threshold_in_multiples_of_the_mean(
    threshold: float, gaussian_BK: Tensor
) -> None:
    neuron, mean = SpikeLM(64, threshold=threshold), gaussian_BK.abs().mean()
    assert torch.equal(neuron(gaussian_BK) != 0, gaussian_BK.abs() > threshold * mean)
    assert neuron.alpha.item() == pytest.approx(2 * threshold * mean.item(), rel=1e-5)


def test_a_larger_threshold_fires_less(gaussian_BK: Tensor) -> None:
    rates = [rate(SpikeLM(64, threshold=t), gaussian_BK) for t in (0.25, 0.5, 0.7, 1.0, 1.5, 2.5)]
    assert all(more > less for more, less in pairwise(rates))


@pytest.mark.parametrize("neuron", ["spikelm", {"name": "spikelm"}])
def test_a_precision_without_a_threshold_is_the_published_neuron(
    neuron: str | dict[str, str], gaussian_BK: Tensor
) -> None:
    by_table = PrecisionTable({"*": {"steps": 1, "neuron": neuron}}).of("down", layer=0).spikes(64)
    assert isinstance(by_table, SpikeLM)
    assert torch.equal(by_table(gaussian_BK), SpikeLM(64)(gaussian_BK))
    assert by_table.alpha.item() == (2 * gaussian_BK.abs().mean(dtype=torch.float64)).float().item()


def test_a_precision_with_one_is_heard(gaussian_BK: Tensor) -> None:
    table = {"*": {"steps": 1, "threshold": 2.0}, "down": {"neuron": "spikelm"}}
    found = PrecisionTable(table).of("down", layer=0).spikes(64)
    assert found is not None
    assert torch.equal(found(gaussian_BK), SpikeLM(64, threshold=2.0)(gaussian_BK))


def test_one_step_is_lsq_with_a_fixed_scale(h_BTK: Tensor) -> None:
    neuron, dy = SpikeLM(64), torch.randn(h_BTK.shape)
    neuron(h_BTK)
    s = neuron.alpha[0]
    assert s.item() == pytest.approx(2 * h_BTK.abs().mean().item(), rel=1e-5)
    h = (1.3 * h_BTK).requires_grad_()
    assert torch.equal(neuron(h), s * (h / s).round().clamp(-1, 1))
    (dh,) = torch.autograd.grad(neuron(h), h, dy)
    assert torch.allclose(dh, dy * (h.abs() <= s))


def test_alpha_is_frozen_after_the_first_batch(h_BTK: Tensor) -> None:
    neuron = SpikeLM(64, steps=2)
    neuron(h_BTK)
    before = neuron.alpha.clone()
    neuron(5 * h_BTK)
    assert torch.equal(neuron.alpha, before)


@pytest.mark.parametrize("shared", [True, False])
def test_inner_steps_against_their_definition(shared: bool, h_BTK: Tensor) -> None:
    neuron = SpikeLM(64, steps=4, shared_amplitude=shared)
    out = neuron(h_BTK)
    m, alphas, outputs = h_BTK, [], []
    for step in range(4):
        if step:
            m = 0.25 * m * (alphas[-1] - outputs[-1]) + h_BTK
        alphas.append(alphas[0] if step and shared else 2 * m.abs().mean())
        outputs.append(alphas[-1] * (m / alphas[-1]).round().clamp(-1, 1))
    assert torch.allclose(neuron.alpha, torch.stack(alphas))
    assert torch.allclose(out, torch.stack(outputs).mean(0), atol=1e-6)
    assert (neuron.alpha.unique().numel() == 1) == shared


def test_the_leak_passes_no_gradient_through_its_bracket() -> None:
    # alpha 1: m_0 = 0.4 stays silent, m_1 = 0.4 / 4 + 0.4 = 0.5 too; dm_1/dh = 1 + 1/4
    neuron = SpikeLM(1, steps=2)
    neuron.alpha.fill_(1.0)
    neuron.measured.fill_(True)
    for value, wanted in ((0.4, (1 + 1.25) / 2), (0.6, (1 + 1) / 2), (-0.6, 1 / 2 + 1.5 / 2)):
        h = torch.tensor([[value]], requires_grad=True)
        (dh,) = torch.autograd.grad(neuron(h), h)
        assert dh.item() == pytest.approx(wanted), value


def test_steps_with_their_own_amplitudes_have_no_integers(h_BTK: Tensor) -> None:
    neuron = SpikeLM(64, steps=2, shared_amplitude=False)
    with pytest.raises(ValueError, match="shared_amplitude = false"):
        neuron.encode(h_BTK)
    assert neuron.training_only
    assert SpikeLM(64, shared_amplitude=False).training_only == ""
