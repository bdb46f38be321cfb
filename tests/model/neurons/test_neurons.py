"""Laws that every neuron of the table obeys, whatever its settings."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from asnn_goose.model.neurons import GIF, NEURONS, Neuron, SalientSteps
from asnn_goose.ops.spike_codes import digits, step_weights

COLUMNS = 64

SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("mean", {}),
    ("mean", {"signed": False}),
    ("mean", {"surrogate": "atan"}),
    ("mean", {"surrogate": "learnable", "signed": False}),
    ("mean", {"steps": 3, "threshold": 3.0}),
    ("learned", {}),
    ("learned", {"per": "channel", "surrogate": "learnable"}),
    ("learned", {"steps": 3, "threshold": 3.0}),
    ("learned", {"steps": 2, "threshold": 3.0, "per": "channel", "code": "radix2"}),
    ("spikelm", {}),
    ("spikelm", {"steps": 3, "code": "rate"}),
    ("salient", {"threshold": 2.0}),
    ("salient", {"steps": 2, "threshold": 3.0, "code": "radix2", "extra": 2}),
    ("gif", {}),
    ("gif", {"steps": 2, "code": "rate", "bits": 3, "low": 0.75}),
    ("lif", {}),
    ("lif", {"ternary": True, "surrogate": "superspike"}),
    ("lif", {"ternary": True, "decay": "learned", "surrogate": "learnable", "tau": 1.4}),
    ("real_spike", {}),
    ("real_spike", {"steps": 3, "threshold": 3.0, "per": "channel"}),
    ("spikingbert", {}),
    ("spikingbert", {"steps": 6, "code": "rate", "threshold": 2.0}),
    ("spikingbert", {"steps": 4, "code": "rate", "threshold": 2.0, "signed": False}),
    ("heaviside", {}),
    ("lsq_plus", {}),
    ("lsq_plus", {"steps": 2, "per": "channel"}),
    ("homeostatic", {}),
    ("homeostatic", {"steps": 3, "threshold": 3.0, "rate": 0.4}),
]
EVEN_OR_LEAKING = [
    ("mean", {"signed": False}),
    ("mean", {"surrogate": "learnable", "signed": False}),
    ("spikelm", {"steps": 3, "code": "rate"}),
    ("gif", {"steps": 2, "code": "rate", "bits": 3, "low": 0.75}),
    ("lif", {}),
    ("spikingbert", {"steps": 4, "code": "rate", "threshold": 2.0, "signed": False}),
    ("heaviside", {}),
    ("lsq_plus", {}),
    ("lsq_plus", {"steps": 2, "per": "channel"}),
]
SILENT = [row for row in SETTINGS if row[0] not in ("heaviside", "lsq_plus")]
"""Neurons that have nothing to say of 0."""

everyone = pytest.mark.parametrize(("name", "settings"), SETTINGS)


def made(name: str, settings: dict[str, Any]) -> Neuron:
    neuron = NEURONS[name](COLUMNS, **settings)
    if isinstance(neuron, SalientSteps | GIF):
        neuron.set_saliency_(torch.arange(COLUMNS).float())
    return neuron


def started(name: str, settings: dict[str, Any], h: Tensor) -> Neuron:
    """A neuron in eval mode that has seen its first batch, with its parameters moved."""
    neuron = made(name, settings)
    neuron(h)
    with torch.no_grad():
        for parameter in neuron.parameters():
            parameter.mul_(1.1)
    return neuron.eval()


def test_every_row_is_tested() -> None:
    assert {name for name, _ in SETTINGS} == set(NEURONS)


@everyone
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("fresh", [False, True])
def test_what_runs_is_what_is_encoded(
    name: str, settings: dict[str, Any], dtype: torch.dtype, fresh: bool, h_BTK: Tensor
) -> None:
    neuron = made(name, settings).eval() if fresh else started(name, settings, h_BTK)
    h = (0.9 * h_BTK).to(dtype)
    out, spikes = neuron(h), neuron.encode(h)
    assert out.dtype == dtype
    assert out.shape == h.shape
    assert torch.equal(out, spikes.values().to(dtype))
    assert not spikes.q_BK.requires_grad
    assert not spikes.amplitude_B1.requires_grad
    assert 0 < spikes.q_BK.count_nonzero() < out.numel()


@everyone
def test_training_says_the_same(name: str, settings: dict[str, Any], h_BTK: Tensor) -> None:
    neuron = started(name, settings, h_BTK)
    wanted = neuron(h_BTK)
    assert torch.equal(neuron.train()(h_BTK), wanted)


@pytest.mark.parametrize(("name", "settings"), [row for row in SETTINGS if row[0] != "gif"])
def test_codes_are_spelled_in_ternary_steps(
    name: str, settings: dict[str, Any], h_BTK: Tensor
) -> None:
    neuron = started(name, settings, h_BTK)
    steps = neuron.steps + (neuron.extra if isinstance(neuron, SalientSteps) else 0)
    q = neuron.encode(h_BTK).q_BK
    spikes = digits(q, steps=steps, code=neuron.code)
    assert set(spikes.unique().tolist()) <= {-1.0, 0.0, 1.0}
    assert torch.equal((spikes * torch.tensor(step_weights(neuron.code, steps))).sum(-1), q)


@everyone
def test_a_gradient_reaches_the_input_and_what_is_learned(
    name: str, settings: dict[str, Any], h_BTK: Tensor
) -> None:
    neuron, h = made(name, settings), h_BTK.clone().requires_grad_()
    (neuron(h) * torch.randn(h.shape, generator=torch.Generator().manual_seed(3))).sum().backward()
    for found in (h, *neuron.parameters()):
        assert found.grad is not None
        assert found.grad.isfinite().all()
        assert found.grad.count_nonzero() > 0


@pytest.mark.parametrize(("name", "settings"), SILENT)
def test_silence_stays_silent_and_finite(
    name: str, settings: dict[str, Any], h_BTK: Tensor
) -> None:
    h = h_BTK.clone()
    h[:, 2:] = 0
    for neuron in (made(name, settings), started(name, settings, h_BTK)):
        for batch in (torch.zeros_like(h), h):
            x = batch.clone().requires_grad_()
            out = neuron(x)
            out.sum().backward()
            assert x.grad is not None
            assert out.isfinite().all()
            assert x.grad.isfinite().all()
            assert neuron.encode(batch).values().isfinite().all()
        assert neuron(torch.zeros_like(h)).abs().sum() == 0
        assert all(b.isfinite().all() for b in neuron.buffers())


@everyone
def test_a_silent_first_batch_is_not_the_measure(
    name: str, settings: dict[str, Any], h_BTK: Tensor
) -> None:
    late, early = made(name, settings), made(name, settings)
    late(torch.zeros_like(h_BTK))
    assert torch.equal(late(h_BTK), early(h_BTK))
    for one, other in zip(late.state_dict().values(), early.state_dict().values(), strict=True):
        assert torch.equal(one, other)


@everyone
def test_eval_measures_nothing(name: str, settings: dict[str, Any], h_BTK: Tensor) -> None:
    neuron = made(name, settings).eval()
    before = {key: value.clone() for key, value in neuron.state_dict().items()}
    neuron(h_BTK)
    neuron.encode(h_BTK)
    assert all(torch.equal(value, before[key]) for key, value in neuron.state_dict().items())


@everyone
def test_state_goes_round(name: str, settings: dict[str, Any], h_BTK: Tensor) -> None:
    neuron = started(name, settings, h_BTK)
    other = NEURONS[name](COLUMNS, **settings).eval()
    other.load_state_dict(neuron.state_dict())
    assert torch.equal(other(h_BTK), neuron(h_BTK))


@everyone
def test_signed_ones_are_odd(name: str, settings: dict[str, Any], h_BTK: Tensor) -> None:
    neuron = started(name, settings, h_BTK)
    odd = torch.equal(neuron(-h_BTK), -neuron(h_BTK))
    assert odd == ((name, settings) not in EVEN_OR_LEAKING)


@everyone
def test_the_engine_is_told_enough(name: str, settings: dict[str, Any], h_BTK: Tensor) -> None:
    neuron = started(name, settings, h_BTK)
    if neuron.training_only:
        with pytest.raises(ValueError, match=f"{type(neuron).__name__} is training-only: "):
            neuron.packed()
        return
    assert torch.equal(from_packed(neuron, h_BTK), neuron(h_BTK))


def from_packed(neuron: Neuron, h: Tensor) -> Tensor:
    """What the numbers of `packed` stand for, by the engine's rules."""
    match neuron.packed():
        case {"threshold": threshold, **rest}:
            mean = h.double().abs().mean(-1, keepdim=True).float() * threshold
            if neuron.steps == 1:
                q = h.sign() * (h.abs() > mean)
                total = (h.double() * q).sum(-1, keepdim=True)
                size = (total / q.abs().sum(-1, keepdim=True)).float()
            else:
                size = mean / neuron.levels
                q = (h * (1 / size)).round().clamp(-neuron.levels, neuron.levels)
            return size * torch.tensor(rest.get("factor", 1.0)) * q
        case {"amplitude": amplitude, "fires": fires}:
            return torch.tensor(amplitude) * h.sign() * (h.abs() > torch.tensor(fires))
        case {"amplitude": amplitude}:
            inverse = 1 / torch.tensor(amplitude)
            q = (h * inverse).round().clamp(-neuron.levels, neuron.levels)
            return torch.tensor(amplitude) * q
    raise AssertionError(neuron.packed())


def test_wrong_settings_are_named() -> None:
    for settings, words in (
        (("mean", {"threshold": 0.0}), r"threshold = 0.0: must be above 0"),
        (("mean", {"steps": 2, "signed": False}), "signed = false: is for one step, and here are"),
        (("mean", {"steps": 2, "surrogate": "atan"}), "surrogate = 'atan': 2 steps take 'straight"),
        (("mean", {"surrogate": "learnable", "surrogate_shape": 1.0}), "learnable measures its"),
        (("learned", {"per": "row"}), "per = 'row': choose tensor or channel"),
        (("spikelm", {"steps": 2, "code": "radix3"}), "code = 'radix3': this neuron's 2 steps"),
        (("spikelm", {"multiplier": -1.0}), r"multiplier = -1.0: must be above 0"),
        (("salient", {"share": 1.5}), r"share = 1.5: must be 0 to 1"),
        (("salient", {"extra": -1}), "extra = -1: must be 0 or more"),
        (("salient", {"steps": 3, "extra": 2}), "extra = 2: radix3 takes 4 steps in all"),
        (("salient", {"code": "rate"}), "code = 'rate': finer steps need radix2 or radix3"),
        (("gif", {"bits": 9}), "bits = 9: must be 2 to 8"),
        (("gif", {"low": 1.5}), r"low = 1.5: must be 0 to 1"),
        (("gif", {"calibration": 0}), "calibration = 0: must be at least 1"),
        (("gif", {"steps": 3, "code": "rate"}), "steps = 3: must be a power of two"),
        (("gif", {"steps": 2, "code": "radix3"}), "code = 'radix3': this neuron's 2 steps"),
        (("lif", {"steps": 2}), "steps = 2: a LIF neuron spikes once a token; take 1"),
        (("lif", {"tau": 0.5}), r"tau = 0.5: must be at least 1"),
        (("real_spike", {"per": "row"}), "per = 'row': choose tensor or channel"),
        (("lsq_plus", {"per": "row"}), "per = 'row': choose tensor or channel"),
        (("lsq_plus", {"threshold": 2.0}), r"threshold = 2.0: lsq_plus searches its step"),
    ):
        with pytest.raises(ValueError, match=words):
            made(*settings)
    with pytest.raises(ValueError, match="columns = 0: must be at least 1"):
        NEURONS["mean"](0)
