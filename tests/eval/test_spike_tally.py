"""Counts of spikes: those of the engine, to the last one, and those of a plain look."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from asnn_goose.eval.spikes.statistics import gates, place_of
from asnn_goose.eval.spikes.tally import PlaceTally, seeing, spiking_places, tallies_of
from asnn_goose.export.packed import PackSettings, export_packed
from asnn_goose.format.packed import read_packed
from asnn_goose.infer.engine import Engine
from asnn_goose.model import GooseForCausalLM
from asnn_goose.model.neurons.mean_threshold import MeanThreshold

Make = Callable[..., GooseForCausalLM]
SPIKING = {
    "*": {"steps": 3, "code": "radix3", "threshold": 2.0, "planes": 1},
    "down": {"steps": 1, "threshold": 0.7},
    "k": {"steps": 1, "threshold": 0.8},
}
IDS = torch.from_numpy(np.random.default_rng(3).integers(0, 257, (1, 40)))


def counted(model: GooseForCausalLM) -> dict[str, PlaceTally]:
    tallies = tallies_of(model)
    with torch.no_grad(), seeing(model, lambda name, q: tallies[name].add(q)):
        model.trace(IDS, frozenset({"hidden", "vocab"}))
    return tallies


def test_spikes_are_those_that_the_engine_counts(goose: Make, tmp_path: Path) -> None:
    model = goose(precision=SPIKING)
    settings = PackSettings(dense="f32", low_rank="f32", head="f16")
    export_packed(model, tmp_path / "packed", settings=settings)
    engine = Engine(read_packed(tmp_path / "packed"), threads=1)
    engine.prefill(engine.start(), IDS[0].numpy())
    found = {name: place_of(tally) for name, tally in counted(model).items()}
    wanted = engine.counts()
    assert set(found) == set(wanted)
    for name, (came, possible) in wanted.items():
        assert found[name].possible == possible
        # A number right at a threshold may fall on either side in another order of sums, and what
        # comes after it then differs: only the first inputs of all are the same to the bit.
        first = name in {f"blocks.0.mixer.{matrix}" for matrix in ("receptance", "key", "value")}
        assert abs(found[name].spikes - came) <= (2 if first else 0.02 * possible), name
    assert sum(place.spikes for place in found.values()) > 1000


def test_places_are_named_and_numbered(goose: Make) -> None:
    places = spiking_places(goose(precision=SPIKING))
    assert {"blocks.0.mixer.key", "blocks.1.mixer.k", "blocks.1.mlp.down"} <= set(places)
    tallies = tallies_of(goose(precision=SPIKING))
    assert (tallies["blocks.1.mixer.k"].short, tallies["blocks.1.mixer.k"].layer) == ("mixer.k", 1)
    assert tallies_of(goose()) == {}


def test_nothing_is_seen_after_the_block(goose: Make) -> None:
    model = goose(precision=SPIKING | {"v": {"neuron": "lif", "steps": 1}})
    told: list[str] = []
    with torch.no_grad(), seeing(model, lambda name, q: told.append(name)):
        model.trace(IDS, frozenset({"hidden"}))
    assert sorted(told) == sorted(spiking_places(model))
    assert "blocks.0.mixer.v" in told
    told.clear()
    model.trace(IDS, frozenset({"hidden"}))
    assert told == []


def test_counts_by_channel_and_step() -> None:
    tally = PlaceTally("blocks.2.mlp.down", MeanThreshold(3, steps=2, code="radix3"))
    q_BTK = torch.tensor([[[0, 4, -3], [0, 1, 3]], [[0, 2, 3], [0, -4, -3]]]).float()
    tally.add(q_BTK)
    # Balanced ternary digits: 4 = 1 + 3, 2 = -1 + 3, 3 = 0 + 3.
    assert tally.spikes_KS().tolist() == [[0, 0], [4, 3], [0, 4]]
    place = place_of(tally)
    assert (place.layer, place.site, place.spikes, place.possible) == (2, "mlp.down", 11, 24)
    assert place.rate == pytest.approx(11 / 24)
    assert place.by_step == pytest.approx((4 / 12, 7 / 12))
    assert (place.dead, place.saturated) == (pytest.approx(1 / 3), 0.0)
    assert tally.codes_nM.tolist() == q_BTK.flatten(0, 1).tolist()


def test_correlation_along_tokens() -> None:
    draw = np.random.default_rng(0)
    tally = PlaceTally("blocks.0.mlp.up", MeanThreshold(3, steps=1))
    steady = np.repeat(draw.choice([-1, 1], 4000), 1)
    for t in range(1, 4000):  # a chain that keeps its sign with probability .8: correlation .6
        steady[t] = steady[t - 1] * (1 if draw.random() < 0.8 else -1)
    other = draw.choice([-1, 1], 4000)
    q = np.stack([steady, other, np.ones(4000)], 1)
    tally.add(torch.from_numpy(q[None]).float())
    assert tally.correlation() == pytest.approx(0.3, abs=0.03)  # .6 and 0; a constant has none
    windows = PlaceTally("blocks.0.mlp.up", MeanThreshold(3, steps=1))
    windows.add(torch.from_numpy(q.reshape(2000, 2, 3)).float())
    assert windows.correlation() == pytest.approx(0.3, abs=0.04)


def test_gates_name_what_fails() -> None:
    tally = PlaceTally("blocks.0.mlp.up", MeanThreshold(4, steps=1))
    tally.add(torch.tensor([[[1, 0, 1, 0], [1, -1, 0, 0], [1, 0, 0, 0]]]).float())
    place = place_of(tally)
    found = {gate.name.split()[0]: gate for gate in gates([place], {1: 0.2, 2: 0.5})}
    assert {name: gate.passed for name, gate in found.items()} == {
        "dead": False,
        "saturated": False,
        "firing": True,
        "CKA": True,
    }
    assert found["firing"].found == pytest.approx(5 / 12)
    assert found["CKA"].found == pytest.approx(0.35)
    assert gates([], {}) == []
