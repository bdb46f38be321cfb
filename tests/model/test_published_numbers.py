"""Numbers that papers give and settings take where nothing else is said."""

from __future__ import annotations

import inspect

import pytest
import torch

from asnn_goose.losses.distances import token_relative
from asnn_goose.model.neurons import SalientSteps, SpikingBERT
from asnn_goose.model.neurons.surrogate_gradient import SurrogateGradient
from asnn_goose.model.parts.precision import Precision
from asnn_goose.model.parts.precision_table import PrecisionTable
from asnn_goose.model.starts import balance
from asnn_goose.model.ternary import TERNARY
from asnn_goose.ops.surrogate import surrogate


@pytest.fixture
def weight_OK() -> torch.Tensor:
    return torch.randn(5, 64, generator=torch.Generator().manual_seed(0))


def test_tequila_adds_a_thousandth_of_the_dead_zone(weight_OK: torch.Tensor) -> None:
    """arXiv 2509.23809: lambda = 1e-3."""
    dead_OK = weight_OK.abs() <= weight_OK.abs().mean(1, keepdim=True) / 2
    wanted = 1e-3 * (weight_OK * dead_OK).sum(1)
    found = TERNARY["tequila"](5, 64).bias(weight_OK)
    assert found is not None
    torch.testing.assert_close(found, wanted)


def test_tervit_has_eight_bits_in_the_first_half(weight_OK: torch.Tensor) -> None:
    method, kept = TERNARY["tervit"](5, 64).train(), []
    for share in (0.0, 0.49, 0.5, 1.0):
        method.anneal(share)
        kept.append(len(method(weight_OK)[0].unique()) > 3)
    assert kept == [True, True, False, False]


def test_salient_steps_give_a_tenth_of_the_channels_more_steps() -> None:
    neuron = SalientSteps(60)
    neuron.set_saliency_(torch.arange(60.0))
    assert neuron.salient.nonzero().flatten().tolist() == list(range(54, 60))


def test_spikingberts_threshold_is_of_the_first_batch() -> None:
    neuron, h_BK = SpikingBERT(4, steps=2), torch.tensor([[1.0, -2.0, 3.0, -4.0]])
    neuron.train()(h_BK)
    assert float(neuron.v_th) == pytest.approx(0.7 * 2.5)
    made = PrecisionTable({"*": {"steps": 2, "neuron": "spikingbert", "code": "rate"}}).of("down")
    assert made.threshold == Precision().threshold == 0.7


def test_superspike_halves_at_half_a_unit() -> None:
    """1 / (1 + k |u|)^2 with k = 2 is 1/4 at 1/2."""
    assert float(surrogate("superspike")(torch.tensor(0.5))) == pytest.approx(0.25)


def test_a_learnable_width_moves_by_a_hundredth_of_the_way() -> None:
    gradient = SurrogateGradient("learnable").train()
    one, other = torch.tensor([-1.0, 1.0]), torch.tensor([-3.0, 3.0])
    widths = []
    for v in (one, other):
        gradient.follow(v)
        gradient.go_on(gradient.take_counts())
        widths.append(float(torch.nn.functional.softplus(gradient.p)))
    first, target = (2 * float(v.std()) for v in (one, other))
    assert widths == pytest.approx([first, first + 0.01 * (target - first)], rel=1e-4)


def test_a_silent_channel_counts_as_a_thousandth_of_the_mean() -> None:
    size_K = balance._floored(torch.tensor([0.0, 2.0, 4.0]))
    assert size_K.tolist() == pytest.approx([2e-3, 2.0, 4.0])


def test_a_token_is_measured_by_the_teachers_length() -> None:
    student, teacher = torch.tensor([[3.0, 0.0]]), torch.tensor([[1.0, 0.0]])
    assert float(token_relative(student, teacher)) == pytest.approx(4.0)


def test_defaults_are_where_they_are_said() -> None:
    for kind, setting, value in (
        (TERNARY["tequila"], "strength", 1e-3),
        (TERNARY["tervit"], "eight_bit", 0.5),
        (SalientSteps, "share", 0.1),
    ):
        assert inspect.signature(kind).parameters[setting].default == value
