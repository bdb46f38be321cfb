from __future__ import annotations

import pytest
import torch
from torch import Tensor

from asnn_goose.model.neurons import SpikingBERT

kinds = pytest.mark.parametrize("signed", [True, False])


def measured(h: Tensor, **settings: float) -> SpikingBERT:
    neuron = SpikingBERT(64, code="rate", **settings)  # type: ignore[arg-type]
    neuron(h)
    return neuron


def simulated(neuron: SpikingBERT, h_BK: Tensor, *, steps: int, start: float = 0.5) -> Tensor:
    """Rates of that many steps, from membranes at `start` of the threshold.

    Negative drive charges a membrane of its own, as a neuron of the other sign would.
    """
    drive_BK = (h_BK if neuron.signed else h_BK.clamp_min(0)) / neuron.v_th.double()
    v_BK, count_BK = torch.full_like(drive_BK, start), torch.zeros_like(drive_BK)
    for _ in range(steps):
        v_BK = v_BK + drive_BK.abs()
        fired_BK = (v_BK >= 1).to(v_BK.dtype)
        v_BK, count_BK = v_BK - fired_BK, count_BK + fired_BK
    return drive_BK.sign() * count_BK / steps


@kinds
@pytest.mark.parametrize(("start", "bound"), [(0.0, 1.0), (0.5, 0.5)])
def test_the_rate_goes_to_the_closed_form(
    start: float, bound: float, signed: bool, h_BTK: Tensor
) -> None:
    h = h_BTK.double()
    neuron = measured(h, threshold=2.0, signed=signed)
    wanted, errors = neuron.closed_form(h), []
    for steps in (4, 16, 64, 256):
        errors.append((simulated(neuron, h, steps=steps, start=start) - wanted).abs().max())
        assert errors[-1] <= bound / steps + 1e-9
    assert errors[0] > 8 * errors[2]
    # Without the half-way start a rate is never above what drives it.
    excess = simulated(neuron, h, steps=5, start=start).abs() - wanted.abs()
    assert (excess.max() > 0.01) == (start > 0)


@kinds
@pytest.mark.parametrize("steps", [1, 4, 8])
def test_spikes_are_counted_as_simulated(steps: int, signed: bool, h_BTK: Tensor) -> None:
    h = h_BTK.double()
    neuron = measured(h, steps=steps, threshold=2.0, signed=signed)
    rate = neuron.encode(h).q_BK / steps
    assert torch.allclose(rate, simulated(neuron, h, steps=steps))
    assert torch.allclose(neuron(h), neuron.v_th.double() * rate)


def test_the_closed_form(h_BTK: Tensor) -> None:
    neuron = measured(h_BTK, threshold=2.0)
    v_th = 2 * h_BTK.abs().mean()
    assert neuron.v_th.item() == pytest.approx(v_th.item(), rel=1e-5)
    assert torch.allclose(neuron.closed_form(h_BTK), (h_BTK / v_th).clamp(-1, 1))
    neuron(10 * h_BTK)
    assert neuron.v_th.item() == pytest.approx(v_th.item(), rel=1e-5)


@kinds
def test_the_gradient_is_that_of_the_closed_form(signed: bool, h_BTK: Tensor) -> None:
    neuron = measured(h_BTK, steps=4, threshold=1.5, signed=signed)
    h, dy = h_BTK.clone().requires_grad_(), torch.randn(h_BTK.shape)
    (dh,) = torch.autograd.grad(neuron(h), h, dy)
    v_th = neuron.v_th.item()
    (wanted,) = torch.autograd.grad(h.clamp(-v_th if signed else 0, v_th), h, dy)
    assert torch.equal(dh, wanted)
