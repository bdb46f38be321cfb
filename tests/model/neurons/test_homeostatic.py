from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from asnn_goose.model.neurons import Homeostatic, MeanThreshold
from asnn_goose.ops.spike_codes import digits


def fired(neuron: MeanThreshold, h: Tensor) -> float:
    q = neuron.encode(h).q_BK
    return digits(q, steps=neuron.steps, code=neuron.code).abs().mean().item()


def trained(neuron: Homeostatic, h: Tensor, batches: int) -> Homeostatic:
    for _ in range(batches):
        neuron(h)
        neuron.go_on(neuron.take_counts())
    return neuron


@pytest.mark.parametrize(("steps", "threshold"), [(1, 0.7), (3, 4.0)])
@pytest.mark.parametrize("rate", [0.15, 0.28, 0.45])
def test_the_rate_is_met(steps: int, threshold: float, rate: float, gaussian_BK: Tensor) -> None:
    neuron = Homeostatic(64, steps=steps, threshold=threshold, rate=rate, gain=0.5)
    assert abs(fired(neuron, gaussian_BK) - rate) > 0.02
    assert fired(trained(neuron, gaussian_BK, 80).eval(), gaussian_BK) == pytest.approx(
        rate, abs=0.02
    )


def test_it_moves_by_gain_times_what_is_too_much(gaussian_BK: Tensor) -> None:
    neuron = Homeostatic(64, rate=0.1, gain=0.25)
    few = gaussian_BK[:64]
    too_much = fired(MeanThreshold(64), few) - 0.1
    trained(neuron, few, 1)
    assert float(neuron.moved) == pytest.approx(0.25 * too_much, rel=1e-5)
    assert neuron.relative_threshold == pytest.approx(0.7 * math.exp(0.25 * too_much), rel=1e-5)


def test_a_batch_that_is_run_again_counts_once(gaussian_BK: Tensor) -> None:
    once, twice = (Homeostatic(64, rate=0.1) for _ in range(2))
    for neuron, times in ((once, 1), (twice, 2)):
        for _ in range(3):
            found = [neuron(gaussian_BK) for _ in range(times)]
            assert torch.equal(found[0], found[-1])
            neuron.go_on(neuron.take_counts())
    assert torch.equal(once.moved, twice.moved)
    assert float(once.moved) != 0


def test_a_batch_counts_once_though_none_follows(gaussian_BK: Tensor) -> None:
    neuron = trained(Homeostatic(64, rate=0.1), gaussian_BK, 1)
    moved = float(neuron.moved)
    neuron.go_on(neuron.take_counts())
    assert float(neuron.moved) == moved != 0


def test_a_step_moves_it_by_all_of_its_batches(gaussian_BK: Tensor) -> None:
    neuron, few = Homeostatic(64, rate=0.1, gain=0.25), gaussian_BK[:64]
    counts = []
    for batch in (few, 2 * few):
        neuron(batch)
        counts.append(neuron.take_counts())
    neuron.go_on(sum(counts, torch.zeros(1)))
    too_much = fired(MeanThreshold(64), few) - 0.1  # the size of a token counts for nothing
    assert float(neuron.moved) == pytest.approx(2 * 0.25 * too_much, rel=1e-5)


def test_outside_of_training_it_is_a_mean_threshold(gaussian_BK: Tensor) -> None:
    neuron = trained(Homeostatic(64, steps=3, threshold=4.0, gain=0.5), gaussian_BK, 9).eval()
    plain = MeanThreshold(64, steps=3, threshold=neuron.packed()["threshold"]).eval()
    assert neuron.packed()["threshold"] > 4.1
    assert torch.equal(neuron(gaussian_BK), plain(gaussian_BK))
    assert neuron.coding(rotate=True) == plain.coding(rotate=True) is not None
    assert neuron.train().coding(rotate=True) is None  # or nothing would be counted


def test_a_rate_out_of_reach_has_an_end(gaussian_BK: Tensor) -> None:
    neuron = trained(Homeostatic(64, rate=0.999, gain=1.0), gaussian_BK, 60)
    assert float(neuron.moved) == pytest.approx(-math.log(16))


@pytest.mark.parametrize("settings", [{"rate": 0.0}, {"rate": 1.0}, {"gain": 0.0}, {"gain": 1.1}])
def test_refused(settings: dict[str, float]) -> None:
    (name,) = settings
    with pytest.raises(ValueError, match=f"{name} = "):
        Homeostatic(64, **settings)
