from __future__ import annotations

import pytest
import torch
from torch import Tensor

from asnn_goose.model.neurons import MeanThreshold, SalientSteps
from asnn_goose.model.parts.precision import Precision
from asnn_goose.model.parts.projection import Projection
from asnn_goose.ops.spike_codes import digits, step_weights


def salient(code: str = "radix3", **settings: float) -> SalientSteps:
    neuron = SalientSteps(64, steps=2, code=code, threshold=3.0, **settings)  # type: ignore[arg-type]
    neuron.set_saliency_((torch.arange(64) * 7 % 64).float())
    return neuron


def test_the_most_salient_channels_are_chosen() -> None:
    neuron = SalientSteps(64, share=0.1)
    assert not neuron.salient.any()
    score = torch.arange(64).float().flip(0)
    neuron.set_saliency_(score)
    assert neuron.salient.nonzero().flatten().tolist() == [0, 1, 2, 3, 4, 5]
    assert torch.equal(neuron.saliency, score)
    neuron.set_saliency_(-score)
    assert neuron.salient.nonzero().flatten().tolist() == [58, 59, 60, 61, 62, 63]
    with pytest.raises(ValueError, match=r"score_K has shape \(3,\): must be \(64,\)"):
        neuron.set_saliency_(torch.zeros(3))


def test_without_saliency_it_is_the_mean_threshold(h_BTK: Tensor) -> None:
    plain = MeanThreshold(64, steps=2, threshold=3.0)
    assert torch.allclose(SalientSteps(64, steps=2, threshold=3.0)(h_BTK), plain(h_BTK), atol=1e-6)


@pytest.mark.parametrize("extra", [1, 2])
@pytest.mark.parametrize("code", ["radix2", "radix3"])
def test_spikes_add_up_to_the_integer_where_it_fits(code: str, extra: int, h_BTK: Tensor) -> None:
    neuron = salient(code, extra=extra)
    q, unit, _ = neuron.encode(h_BTK)
    spikes = digits(q, steps=2 + extra, code=code)
    total = (spikes * torch.tensor(step_weights(code, 2 + extra))).sum(-1)
    fits = h_BTK.abs() <= unit * neuron.levels * neuron.ratio
    assert 0.5 < fits.float().mean() < 1
    nearest = torch.where(neuron.salient, 1, neuron.ratio)
    error = (total - h_BTK / unit).abs() - nearest / 2
    assert error[fits].max() <= 1e-4
    # What is not salient leaves the extra steps empty.
    assert spikes[..., ~neuron.salient, :extra].abs().sum() == 0
    assert spikes[..., neuron.salient, :extra].abs().sum() > 0


def test_salient_channels_come_closer(h_BTK: Tensor) -> None:
    neuron, plain = salient(share=0.5), MeanThreshold(64, steps=2, threshold=3.0)
    found, coarse = neuron(h_BTK[0]), plain(h_BTK[0])
    assert torch.allclose(found[:, ~neuron.salient], coarse[:, ~neuron.salient], atol=1e-6)
    ours, theirs = ((x - h_BTK[0]).abs()[:, neuron.salient].mean() for x in (found, coarse))
    assert ours < 0.5 * theirs


def test_the_window(h_BTK: Tensor) -> None:
    neuron, dy = salient(), torch.randn(h_BTK.shape)
    h = h_BTK.clone().requires_grad_()
    (dh,) = torch.autograd.grad(neuron(h), h, dy)
    unit = neuron.encode(h_BTK).amplitude_B1
    reach = torch.where(neuron.salient, 13.5, 4.5 * 3) * unit
    assert torch.equal(dh, dy * (h_BTK.abs() <= reach))
    assert 0 < dh.count_nonzero() < dh.numel()


def test_saliency_is_measured_once_in_training(h_BTK: Tensor) -> None:
    """At the first batch of the matrix it belongs to, and from that matrix."""
    precision = Precision(steps=1, neuron={"name": "spikellm", "share": 0.1})
    projection = Projection(64, 8, bias=False, precision=precision)
    neuron = projection.neuron
    assert isinstance(neuron, SalientSteps)
    projection.eval()(h_BTK)
    assert not neuron.salient.any()
    projection.train()(h_BTK)
    x_RK, weight_OK = h_BTK.flatten(0, -2), projection.weight.detach()
    expected_K = torch.einsum("rk,rj,oj,ok->k", x_RK, x_RK, weight_OK, weight_OK) / len(x_RK)
    torch.testing.assert_close(neuron.saliency, expected_K)
    assert neuron.salient.sum() == 6
    projection(100 * h_BTK.flip(-1))
    torch.testing.assert_close(neuron.saliency, expected_K)
