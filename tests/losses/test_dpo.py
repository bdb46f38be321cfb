"""Losses on preferences: values by hand, slopes, and what their settings mean."""

from __future__ import annotations

import math

import pytest
import torch

from asnn_goose.losses import PAIR_LOSSES
from asnn_goose.losses.dpo import DPO
from asnn_goose.losses.ipo import IPO

LEAD_B = torch.tensor([-3.0, -0.5, 0.0, 0.7, 4.0], dtype=torch.float64)


def test_dpo_is_minus_log_sigmoid_of_beta_times_the_lead() -> None:
    found_B = DPO(beta=0.3)(LEAD_B)
    by_hand = [math.log1p(math.exp(-0.3 * lead)) for lead in LEAD_B.tolist()]
    torch.testing.assert_close(found_B, torch.tensor(by_hand, dtype=torch.float64))
    assert float(found_B[2]) == pytest.approx(math.log(2))


def test_dpo_pulls_with_beta_times_the_chance_of_being_wrong() -> None:
    lead_B = LEAD_B.clone().requires_grad_()
    DPO(beta=0.3)(lead_B).sum().backward()
    torch.testing.assert_close(lead_B.grad, -0.3 * torch.sigmoid(-0.3 * LEAD_B))


def test_smoothed_labels_are_the_other_way_round_that_often() -> None:
    plain, smooth = DPO(beta=0.3), DPO(beta=0.3, label_smoothing=0.2)
    torch.testing.assert_close(smooth(LEAD_B), 0.8 * plain(LEAD_B) + 0.2 * plain(-LEAD_B))
    lead_B = torch.tensor([math.log(0.8 / 0.2) / 0.3], requires_grad=True)
    smooth(lead_B).sum().backward()
    assert float(lead_B.grad) == pytest.approx(0, abs=1e-7)


def test_ipo_wants_a_lead_of_one_over_two_beta() -> None:
    found_B = IPO(beta=0.25)(torch.tensor([2.0, 5.0, -1.0]))
    assert found_B.tolist() == [0.0, 9.0, 9.0]


@pytest.mark.parametrize("name", sorted(PAIR_LOSSES))
def test_settings_that_mean_nothing_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="beta = 0: must be above 0"):
        PAIR_LOSSES[name](beta=0)
    with pytest.raises(ValueError, match=r"label_smoothing = 0\.5: must be 0 or more, below 0\.5"):
        DPO(label_smoothing=0.5)
