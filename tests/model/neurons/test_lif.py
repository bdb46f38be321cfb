from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from asnn_goose.model.neurons import LIF

kinds = pytest.mark.parametrize("ternary", [False, True])


def test_a_membrane_by_hand() -> None:
    # V = 0.8, then 1.5 fires and resets, then 0.9, then 1.05 fires
    h = torch.tensor([[1.6], [2.2], [1.8], [1.2]])
    spikes, state = LIF(1).forward_with_state(h, None)
    assert spikes.flatten().tolist() == [0, 1, 0, 1]
    assert state.tolist() == [0.0]
    assert LIF(1)(-h).abs().sum() == 0
    assert LIF(1, ternary=True)(-h).flatten().tolist() == [0, -1, 0, -1]
    assert LIF(1, threshold=2.0)(h).abs().sum() == 0
    assert LIF(1, tau=1.0)(h).flatten().tolist() == [1, 1, 1, 1]


@kinds
def test_a_membrane_below_its_threshold_is_kept(ternary: bool) -> None:
    _, state = LIF(1, ternary=ternary).forward_with_state(torch.tensor([[1.0], [1.0]]), None)
    assert state.tolist() == [0.75]


@kinds
def test_token_by_token_is_the_whole(ternary: bool, h_BTK: Tensor) -> None:
    neuron, state, steps = LIF(64, ternary=ternary), None, []
    h = 1.5 * h_BTK
    whole, last = neuron.forward_with_state(h, None)
    assert torch.equal(whole, neuron(h))
    assert set(whole.unique().tolist()) == ({-1.0, 0.0, 1.0} if ternary else {0.0, 1.0})
    for position in range(8):
        spikes, state = neuron.forward_with_state(h[:, position : position + 1], state)
        steps.append(spikes)
    assert torch.equal(torch.cat(steps, 1), whole)
    assert state is not None
    assert torch.equal(state, last)


@kinds
def test_windows_carry_the_membrane_on(ternary: bool, h_BTK: Tensor) -> None:
    neuron, h = LIF(64, ternary=ternary), 1.5 * h_BTK
    first, state = neuron.forward_with_state(h[:, :3], None)
    assert state.dtype == torch.float32
    second, _ = neuron.forward_with_state(h[:, 3:], state)
    assert torch.equal(torch.cat((first, second), 1), neuron(h))
    assert not torch.equal(second, neuron(h[:, 3:]))


def atan(u: float) -> float:
    return 1 / (1 + (math.pi * u) ** 2)


@kinds
@pytest.mark.parametrize("first", [1.2, 2.6, -1.2])
def test_the_reset_keeps_its_gradient(ternary: bool, first: float) -> None:
    h = torch.tensor([[first], [0.7]], dtype=torch.float64, requires_grad=True)
    (dh,) = torch.autograd.grad(LIF(1, ternary=ternary)(h)[1].sum(), h)
    v = first / 2
    size = float(v > 1)  # how far V is reset, and its slope
    slope = atan(v - 1)
    if ternary:
        size, slope = float(abs(v) > 1), (atan(v - 1) + atan(v + 1)) * math.copysign(1, v)
    kept = v * (1 - size)
    second = kept + (0.7 - kept) / 2
    outer = atan(second - 1) + (atan(second + 1) if ternary else 0)
    dkept = (1 - size) - v * slope
    assert dh[1].item() == pytest.approx(outer / 2)
    assert dh[0].item() == pytest.approx(outer * 0.5 * dkept * 0.5)


def test_learnable_follows_the_membrane(h_BTK: Tensor) -> None:
    neuron = LIF(64, surrogate="learnable", threshold=1e6)
    neuron(h_BTK)
    neuron.gradient.go_on(neuron.gradient.take_counts())
    v, membranes = torch.zeros(3, 64), []
    for position in range(8):
        v = (v + h_BTK[:, position]) / 2
        membranes.append(v)
    width = torch.nn.functional.softplus(neuron.gradient.p)
    assert width.item() == pytest.approx(2 * torch.stack(membranes).std().item(), rel=1e-4)


def test_a_token_axis_is_needed() -> None:
    with pytest.raises(ValueError, match=r"h has shape \(4,\): needs an axis of tokens"):
        LIF(4)(torch.zeros(4))
