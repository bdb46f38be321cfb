"""SpikeLLM's neuron as published, and the name that the earlier one had."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from asnn_goose.model import GooseConfig
from asnn_goose.model.neurons import GIF, NEURONS, SalientSteps
from asnn_goose.model.parts.precision import Precision, usual_threshold
from asnn_goose.model.parts.precision_table import PrecisionTable
from asnn_goose.model.parts.projection import Projection
from asnn_goose.ops.affine_codes import affine_codes


def made(**settings: float) -> GIF:
    neuron = GIF(64, code="rate", **settings)  # type: ignore[arg-type]
    neuron.set_saliency_((torch.arange(64) * 7 % 64).float())
    return neuron


def test_one_step_is_the_plain_affine_code(h_BTK: Tensor) -> None:
    assert torch.equal(made(steps=1)(h_BTK), affine_codes(h_BTK, bits=4).values())


@pytest.mark.parametrize(("steps", "bits"), [(2, 5), (4, 6)])
def test_salient_channels_have_more_bits_and_a_range_of_their_own(
    steps: int, bits: int, h_BTK: Tensor
) -> None:
    neuron = made(steps=steps, low=0.75)
    out_BTK, on = neuron(h_BTK), neuron.salient
    assert int(on.sum()) == 16
    low_BTK, fine_BTK = h_BTK[..., ~on], h_BTK[..., on]
    assert torch.equal(out_BTK[..., ~on], affine_codes(low_BTK, bits=4).values())
    fine = affine_codes(fine_BTK, bits=bits)
    top = fine.x_BK == 2**bits - 1
    # Only codes above steps (2^n - 1) lose: by at most steps - 1.
    lost = fine.values() - out_BTK[..., on]
    assert torch.equal(
        lost[fine.x_BK <= steps * 15],
        torch.zeros(())[None].expand(int((fine.x_BK <= steps * 15).sum())),
    )
    scale_BTK = fine.scale_B1.expand_as(top)
    torch.testing.assert_close(lost[top], (steps - 1) * scale_BTK[top], rtol=1e-3, atol=1e-5)
    error = (out_BTK - h_BTK).abs()
    assert float(error[..., on].mean()) < 0.7 * float(error[..., ~on].mean())


def test_the_gradient_passes_but_where_the_top_code_loses(h_BTK: Tensor) -> None:
    """Beside what reaches the least and the largest of each part, which make the range."""
    neuron, h = made(steps=2, low=0.5), h_BTK.clone().requires_grad_()
    dy = torch.randn(h.shape, generator=torch.Generator().manual_seed(2))
    (dh,) = torch.autograd.grad(neuron(h), h, dy)
    fine = affine_codes(h_BTK, bits=5, counted_K=neuron.salient)
    lost = (fine.x_BK > 30) & neuron.salient
    extreme = torch.zeros_like(lost)
    for part in (neuron.salient, ~neuron.salient):
        inside = h_BTK.masked_fill(~part, torch.nan)
        low, high = (torch.tensor(f(inside.numpy(), -1)) for f in (np.nanmin, np.nanmax))
        extreme |= (h_BTK == low[..., None]) | (h_BTK == high[..., None])
    inside = ~extreme
    torch.testing.assert_close(dh[inside], (dy * ~lost)[inside])
    assert 0 < int(lost.sum()) < lost.numel() / 4


def test_a_code_follows_the_size_of_its_token_and_so_does_the_gradient(h_BTK: Tensor) -> None:
    """Twice the token, twice the value; and for such a function sum h dh = sum dy y (Euler)."""
    neuron, h = made(steps=2, low=0.5).double(), h_BTK.double().requires_grad_()
    out = neuron(h)
    torch.testing.assert_close(neuron(2 * h), 2 * out)
    dy = torch.randn(h.shape, generator=torch.Generator().manual_seed(2)).double()
    (dh,) = torch.autograd.grad(out, h, dy)
    torch.testing.assert_close((h * dh).sum(-1), (dy * out).sum(-1))


@pytest.mark.parametrize("all_of", [0.0, 1.0])
def test_all_or_none_may_be_salient(all_of: float, h_BTK: Tensor) -> None:
    out = made(steps=2, low=all_of)(h_BTK)
    bits = 4 if all_of else 5
    codes = affine_codes(h_BTK, bits=bits)
    spikes = codes.x_BK.clamp_max(15 if all_of else 30)
    torch.testing.assert_close(out, codes.scale_B1 * (spikes - codes.zero_B1))


def test_the_lowest_scores_are_low_with_their_sign() -> None:
    neuron = GIF(4, steps=2, low=0.5)
    neuron.set_saliency_(torch.tensor([-9.0, 1.0, 2.0, -1.0]))
    assert neuron.salient.tolist() == [False, True, True, False]
    with pytest.raises(ValueError, match=r"score_K has shape \(3,\): must be \(4,\)"):
        neuron.set_saliency_(torch.zeros(3))


def test_saliency_is_the_mean_over_the_calibration_tokens(h_BTK: Tensor) -> None:
    """Over several batches, as long as tokens are wanted, and of training alone."""
    choice = {"name": "gif", "calibration": 30}
    projection = Projection(64, 8, bias=False, precision=Precision(steps=1, neuron=choice))
    neuron = projection.neuron
    assert isinstance(neuron, GIF)
    projection.eval()(h_BTK)
    assert int(neuron.seen) == 0
    projection.train()
    batches = [h_BTK, 2 * h_BTK.flip(-1), 50 * h_BTK]
    for batch in batches:
        first = projection(batch)
        assert torch.equal(projection(batch), first)  # as checkpointing does
        neuron.go_on(neuron.take_counts())
    x_RK = torch.cat(batches[:2]).flatten(0, -2)
    weight_OK = projection.weight.detach()
    expected_K = torch.einsum("rk,rj,oj,ok->k", x_RK, x_RK, weight_OK, weight_OK) / len(x_RK)
    torch.testing.assert_close(neuron.saliency, expected_K, rtol=1e-4, atol=1e-5)
    assert int(neuron.seen) == 48
    assert int(neuron.salient.sum()) == 6


def test_the_earlier_name_still_means_the_earlier_neuron() -> None:
    for choice in ("spikellm", {"name": "spikellm", "share": 0.2}):
        assert isinstance(Precision(steps=1, neuron=choice).spikes(8), SalientSteps)
        table = PrecisionTable({"*": {"steps": 1, "neuron": choice}})
        assert isinstance(table.of("down", layer=0).spikes(8), SalientSteps)
        GooseConfig(precision=table.to_json())
    assert "spikellm" not in NEURONS
    assert usual_threshold("spikellm") == SalientSteps.usual_threshold
    with pytest.raises(ValueError, match=r"neuron.shares: salient has no such setting"):
        Precision(steps=1, neuron={"name": "spikellm", "shares": 0.2})
