from __future__ import annotations

import pytest
import torch

from asnn_goose.ops.affine_codes import affine_codes, emitted


def numbers() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(20, 64, generator=generator) * 3 + torch.linspace(-9, 9, 20)[:, None]


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_every_number_lies_within_half_a_step_and_the_range_is_used(bits: int) -> None:
    h_BK = numbers()
    codes = affine_codes(h_BK, bits=bits)
    assert torch.equal(codes.x_BK, codes.x_BK.round())
    assert float(codes.x_BK.min()) == 0
    assert float(codes.x_BK.max()) == 2**bits - 1
    span_B1 = h_BK.amax(-1, keepdim=True) - h_BK.amin(-1, keepdim=True)
    torch.testing.assert_close(codes.scale_B1, span_B1 / (2**bits - 1))
    # The zero is rounded too, so that an end of the range may lie half a step farther out.
    assert float(((codes.values() - h_BK).abs() / codes.scale_B1).max()) <= 1.001
    inside_BK = (codes.x_BK > 0) & (codes.x_BK < 2**bits - 1)
    assert float(((codes.values() - h_BK).abs() / codes.scale_B1)[inside_BK].max()) <= 0.5001


def test_a_code_by_hand() -> None:
    codes = affine_codes(torch.tensor([[-1.0, 0.0, 0.4, 2.0]]), bits=2)
    assert codes.scale_B1.item() == 1
    assert codes.zero_B1.item() == 1
    assert codes.x_BK.tolist() == [[0, 1, 1, 3]]
    assert codes.values().tolist() == [[-1, 0, 0, 2]]


def test_the_range_may_be_that_of_some_channels() -> None:
    h_BK = numbers()
    counted_K = torch.arange(64) < 10
    part = affine_codes(h_BK, bits=4, counted_K=counted_K)
    alone = affine_codes(h_BK[:, :10], bits=4)
    assert torch.equal(part.x_BK[:, :10], alone.x_BK)
    assert torch.equal(part.scale_B1, alone.scale_B1)


def test_a_token_of_one_number_stays_finite() -> None:
    codes = affine_codes(torch.tensor([[0.0, 0.0], [0.02, 0.02]]), bits=4)
    torch.testing.assert_close(codes.values(), torch.tensor([[0.0, 0.0], [0.02, 0.02]]))


@pytest.mark.parametrize(("bits", "steps"), [(4, 1), (4, 2), (3, 4)])
def test_spikes_add_up_below_the_top(bits: int, steps: int) -> None:
    x = torch.arange(2**bits * steps).float()
    spikes = emitted(x, bits=bits, steps=steps)
    assert spikes.shape == (steps, len(x))
    assert float(spikes.max()) == 2**bits - 1
    assert float(spikes.min()) >= 0
    reach = steps * (2**bits - 1)
    assert torch.equal(spikes.sum(0), x.clamp_max(reach))
    # The top code is the only one that lies above by as much as there are steps more than one.
    assert float(x[-1]) - reach == steps - 1


def test_spikes_and_zero_give_the_dequantised_product() -> None:
    """out = (sum of spikes W^T - z sum of W) s."""
    h_BK, weight_OK = numbers(), torch.randn(8, 64, generator=torch.Generator().manual_seed(1))
    codes = affine_codes(h_BK, bits=4)
    spikes = emitted(codes.x_BK, bits=4, steps=1)
    events_BO = sum(step_BK @ weight_OK.T for step_BK in spikes)
    found_BO = (events_BO - codes.zero_B1 * weight_OK.sum(1)) * codes.scale_B1
    torch.testing.assert_close(found_BO, codes.values() @ weight_OK.T, rtol=1e-5, atol=1e-4)
