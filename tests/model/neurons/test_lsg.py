"""LSG: a decay that is learned, and a surrogate whose width hangs on it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from asnn_goose.model.neurons import LIF
from asnn_goose.ops.lif import lif
from asnn_goose.trace import Window

SILENT = 1e6
"""A threshold that is never reached: nothing is reset."""


def learned(tau: float, **settings: float) -> LIF:
    return LIF(64, tau=tau, decay="learned", surrogate="learnable", **settings)  # type: ignore[arg-type]


def width(neuron: LIF) -> float:
    """Of the rectangle, from its height, after what was seen."""
    neuron.gradient.go_on(neuron.gradient.take_counts())
    return 1 / float(neuron.gradient.now(neuron._share())(torch.zeros(())))


@pytest.mark.parametrize("tau", [1.001, 1.5, 2.0, 4.0, 10.0])
def test_kappa_is_twice_the_spread_of_the_membrane(tau: float) -> None:
    generator = torch.Generator().manual_seed(0)
    h_BTK = 0.7 * torch.randn(8, 400, 64, generator=generator)
    neuron = learned(tau, threshold=SILENT)
    neuron(h_BTK)
    _, membranes_BTK, _ = lif(h_BTK, torch.zeros(8, 64), neuron.cell, torch.zeros_like)
    assert width(neuron) == pytest.approx(2 * float(membranes_BTK[:, 100:].std()), rel=0.05)
    if tau < 1.01:
        assert width(neuron) == pytest.approx(2 * float(h_BTK.std()), rel=0.01)


def test_a_decay_starts_at_tau_and_trains_towards_a_longer_memory() -> None:
    """The target is a slower neuron's membrane, which only a larger tau can give."""
    h_BTK = torch.randn(4, 60, 64, generator=torch.Generator().manual_seed(1))
    neuron = learned(2.0, threshold=SILENT)
    assert neuron.tau == pytest.approx(2)
    slow = LIF(64, tau=6.0, threshold=SILENT).forward_with_state(h_BTK, None)[1]
    optimiser = torch.optim.Adam(neuron.parameters(), lr=0.05)
    for _ in range(80):
        optimiser.zero_grad()
        (neuron.forward_with_state(h_BTK, None)[1] - slow).square().mean().backward()
        optimiser.step()
    assert neuron.tau == pytest.approx(6, rel=0.05)


def test_the_decay_learns_through_the_membrane_and_not_through_kappa(h_BTK: Tensor) -> None:
    """The gradient is that of the dynamics with the surrogate held as it is."""
    neuron = learned(2.5)
    neuron(h_BTK)
    assert width(neuron) != 1
    assert neuron.decay is not None
    (found,) = torch.autograd.grad(neuron(h_BTK).sum(), neuron.decay)
    held, decay = neuron.gradient.now(neuron._share()), neuron.decay.detach().requires_grad_()
    spikes, _, _ = lif(h_BTK, torch.zeros(3, 64), neuron.cell, held, decay=decay, form="loop")
    (wanted,) = torch.autograd.grad(spikes.sum(), decay)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    assert float(found) != 0


def test_eval_neither_measures_nor_sees_a_width(h_BTK: Tensor) -> None:
    neuron = learned(2.5).eval()
    before = neuron(h_BTK)
    assert width(neuron) == pytest.approx(1 / (2 * 2.5 - 1) ** 0.5)
    with torch.no_grad():
        neuron.gradient.p.fill_(7.0)
    assert torch.equal(neuron(h_BTK), before)
    assert torch.equal(before, LIF(64, tau=neuron.tau)(h_BTK))


def test_padding_is_no_current(h_BTK: Tensor) -> None:
    mask_BT = torch.ones(3, 8, dtype=torch.bool)
    mask_BT[0, :5] = False
    padded, alone = learned(2.0), learned(2.0)
    loud = h_BTK.masked_fill(~mask_BT.unsqueeze(-1), 1e3)
    padded.forward_with_state(loud, None, Window(mask_BT=mask_BT))
    alone.gradient.follow(h_BTK[mask_BT])
    assert width(padded) == pytest.approx(width(alone))


def test_inner_steps_learn_a_decay_too(h_BTK: Tensor) -> None:
    neuron = LIF(64, along="steps", decay="learned", threshold=0.3)
    assert neuron.decay is not None
    window = Window(copies=3)
    neuron.forward_with_state(h_BTK, None, window)[0].sum().backward()
    assert neuron.decay.grad is not None
    assert float(neuron.decay.grad) != 0


def test_a_decay_without_a_slope_is_refused() -> None:
    with pytest.raises(ValueError, match=r"tau = 1\.0: a decay that is learned starts above 1"):
        learned(1.0)
    with pytest.raises(ValueError, match="decay = 'learnt'"):
        LIF(64, decay="learnt")
