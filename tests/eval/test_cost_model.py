"""What a product takes: the fit to times that are made up here, and the file that keeps it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asnn_goose.eval import cost_model, costs
from asnn_goose.eval.cost_model import KINDS, CostModel, Product, Sample, fit, work

MACHINE = {"processor": "abacus", "instruction set": "beads", "engine": "0"}
TRUE = dict(zip(KINDS, (3e-9, 1e-9, 2e-9, 4e-12, 6e-12, 5e-11, 1e-10), strict=True))


def test_the_work_of_a_product() -> None:
    spiking = dict(zip(KINDS, work([Product(10, 100, 2, 3, 0.5)]), strict=True))
    assert spiking == {
        "inputs coded": 300,
        "rows scaled": 20,
        "rows counted": 60,
        "weights read": 2000 * 7 / 8,  # a column that fires in no step is not read
        "weights added": 3000,
        "weights under analogue inputs": 0,
        "dense weights": 0,
    }
    analogue, dense = work([Product(10, 100, 2, 0, 0.5)]), work([Product(10, 100, 0, 0, 0.5)])
    assert analogue.tolist() == [0, 0, 0, 0, 0, 2000, 0]
    assert dense.tolist() == [0, 0, 0, 0, 0, 0, 1000]


def samples(*, noise: float) -> list[Sample]:
    draw, found = np.random.default_rng(0), []
    for shape, (rows, columns) in enumerate([(256, 512), (1024, 1024), (2048, 512)]):
        for planes, steps in [(1, 1), (2, 1), (1, 3), (2, 3), (1, 2), (1, 0), (0, 0)]:
            for firing in (0.2, 0.5):
                products = [Product(rows, columns, planes, steps, firing)] * 8
                seconds = work(products) @ np.array(list(TRUE.values())) + 1e-4 * (1 + shape)
                found.append(Sample(shape, products, seconds * (1 + noise * draw.normal())))
    return found


def test_the_seconds_of_each_kind_come_back() -> None:
    found = fit(samples(noise=0), machine=MACHINE)
    assert found.error < 1e-6
    assert found.seconds == pytest.approx(TRUE, rel=1e-3)
    one = Product(576, 576, 2, 3, 0.4)
    assert found.of([one, one]) == pytest.approx(2 * found.of([one]))
    assert found.of([]) == 0


def test_more_work_never_costs_less_however_noisy_the_times() -> None:
    """Times off by 30 %: pairs of them stand the wrong way round, prices do not."""
    noisy = samples(noise=0.3)
    found = fit(noisy, machine=MACHINE)
    assert 0.05 < found.error < 0.4
    assert min(found.seconds.values()) >= 0
    for shape in ((576, 576), (1536, 576), (64, 64)):
        price = {
            (planes, steps, firing): found.of([Product(*shape, planes, steps, firing)])
            for planes in (1, 2)
            for steps in (1, 2, 3)
            for firing in (0.1, 0.3, 0.6)
        }
        for (planes, steps, firing), seconds in price.items():
            for more in ((planes + 1, steps, firing), (planes, steps + 1, firing)):
                assert price.get(more, np.inf) > seconds


def kept_in(folder: Path, monkeypatch: pytest.MonkeyPatch, model: CostModel) -> list[int]:
    """Keep files there, and let `model` be what is measured; a list that grows with each time."""
    times: list[int] = []

    def measured(**_: Any) -> CostModel:
        times.append(1)
        return model

    monkeypatch.setenv("ASNN_GOOSE_CACHE", str(folder))
    monkeypatch.setattr(cost_model, "measured", measured)
    monkeypatch.setattr(cost_model, "this_machine", lambda: MACHINE)
    return times


def test_a_machine_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = CostModel(machine=MACHINE, seconds=TRUE, error=0.1)
    times = kept_in(tmp_path, monkeypatch, model)
    assert cost_model.kept() is None
    assert cost_model.of_this_machine() == cost_model.of_this_machine() == model
    assert len(times) == 1
    monkeypatch.setattr(cost_model, "this_machine", lambda: MACHINE | {"engine": "1"})
    assert cost_model.kept() is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-9],
        lambda _: "[]",
        lambda _: "{}",
        lambda text: json.dumps(json.loads(text) | {"seconds": {}}),
        lambda text: json.dumps(json.loads(text) | {"seconds": dict.fromkeys(KINDS, -1.0)}),
        lambda text: json.dumps(json.loads(text) | {"machine": {}}),
    ],
)
def test_a_damaged_file_is_measured_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Any
) -> None:
    model = CostModel(machine=MACHINE, seconds=TRUE, error=0.1)
    times = kept_in(tmp_path, monkeypatch, model)
    cost_model.of_this_machine()
    (file,) = (tmp_path / "engine").iterdir()
    file.write_text(damage(file.read_text()))
    assert cost_model.kept() is None
    assert cost_model.of_this_machine() == model
    assert len(times) == 2
    assert json.loads(file.read_text()) == asdict(model)


def test_a_measurement_is_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("asnn_goose._native")
    monkeypatch.setenv("ASNN_GOOSE_CACHE", str(tmp_path))
    sizes = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1}
    monkeypatch.setattr(cost_model, "SHAPES", (sizes, sizes | {"intermediate_size": 128}))
    monkeypatch.setattr(cost_model, "ROUNDS", 1)
    made: list[int] = []
    found = cost_model.of_this_machine(tell=lambda: made.append(1))
    assert len(made) == 2 * len(cost_model.FORMS)
    assert set(found.machine) == {"processor", "instruction set", "engine"}
    assert all(found.machine.values())
    assert any(found.seconds.values())
    assert cost_model.kept() == found


def test_milliseconds_are_the_models_and_the_rest_is_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("asnn_goose._native")
    monkeypatch.setattr(costs.speed, "decode_rate", lambda engine, tokens: 100.0)
    sizes = {"vocab_size": 64, "hidden_size": 64, "num_hidden_layers": 1}
    sizes |= {"num_attention_heads": 1, "head_size": 64, "intermediate_size": 64}
    model = CostModel(machine=MACHINE, seconds=TRUE, error=0.1)
    rungs = [{"planes": 1, "steps": 1}, {"planes": 2, "steps": 3}]
    shapes = [(64, 64), (128, 64)]
    found = costs.milliseconds(rungs, sizes=sizes, shapes=shapes, model=model, density=0.5)
    cheap = 1e3 * model.of([Product(*shape, 1, 1, 0.5) for shape in shapes])
    assert found.base == pytest.approx(10 - cheap)
    assert found.whole([(shapes, 0)]) == pytest.approx(10)
    dear = 1e3 * model.of([Product(*shape, 2, 3, 0.5) for shape in shapes])
    assert found.whole([(shapes, 1)]) == pytest.approx(10 - cheap + dear)
    with pytest.raises(ValueError, match="rung 2 costs no more than rung 1 in ms"):
        costs.milliseconds(rungs[::-1], sizes=sizes, shapes=shapes, model=model)
