"""Synaptic operations against a count over single weights and inputs; energy counters on files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from asnn_goose.eval.effective import effective
from asnn_goose.eval.energy import TRAFFIC, Work, traffic_picojoules, work_per_token
from asnn_goose.eval.joules import measured_joules, packages
from asnn_goose.eval.spikes.tally import seeing, tallies_of
from asnn_goose.export.packed import export_packed
from asnn_goose.format.packed import read_packed
from asnn_goose.format.planes import unpack_planes
from asnn_goose.model import GooseForCausalLM
from asnn_goose.ops.spike_codes import digits

IDS = torch.from_numpy(np.random.default_rng(3).integers(0, 257, (1, 12)))
SPIKING = {
    "*": {"steps": 2, "code": "radix3", "threshold": 2.0, "planes": 1},
    "down": {"steps": 1, "threshold": 0.7, "planes": 2},
    "up": {"steps": 0, "planes": 0},
}


def test_operations_are_those_of_every_weight_and_every_spike(
    goose: Callable[..., GooseForCausalLM], tmp_path: Path
) -> None:
    model = goose(precision=SPIKING)
    export_packed(model, tmp_path / "packed")
    packed = read_packed(tmp_path / "packed")
    tallies, told = tallies_of(model), dict[str, torch.Tensor]()

    def see(name: str, q_BTK: torch.Tensor) -> None:
        tallies[name].add(q_BTK)
        told[name] = q_BTK[0]

    with torch.no_grad(), seeing(model, see):
        model.trace(IDS, frozenset({"hidden"}))
    spikes = {name: tally.spikes_KS().sum(1).numpy() for name, tally in tallies.items()}
    found = {place.name: place for place in effective(packed, spikes, tokens=12)}
    for name, rows, steps, planes in (
        ("blocks.0.mixer.key", 64, 2, 1),
        ("blocks.1.mlp.down", 64, 1, 2),
    ):
        codes = unpack_planes(packed.tensors[f"{name}.planes"], rows=rows).astype(bool)
        fires = digits(told[name], steps=steps, code="radix3").ne(0).numpy()  # (T, K, steps)
        one_by_one = sum(
            int((codes[p] & fires[t, :, s]).sum())
            for p in range(planes)
            for t in range(12)
            for s in range(steps)
        )
        assert found[name].accumulates == pytest.approx(one_by_one / 12)
        assert found[name].multiply_accumulates == 0
        assert found[name].dense == codes.size * steps
        words = packed.tensors[f"{name}.planes"]
        column = words.nbytes / words.shape[2]
        scales = packed.tensors[f"{name}.scale"].nbytes
        assert found[name].bytes == pytest.approx(column * fires.sum() / 12 + scales)
    dense = found["blocks.0.mlp.up"]
    assert (dense.accumulates, dense.multiply_accumulates) == (0, 64 * 64)
    assert dense.bytes == 64 * 64 * 2
    with pytest.raises(ValueError, match="no spikes of blocks"):
        list(effective(packed, {}, tokens=12))


def test_work_by_part_is_that_of_the_columns_where_they_fire_alike(
    goose: Callable[..., GooseForCausalLM], tmp_path: Path
) -> None:
    model = goose(precision=SPIKING)
    export_packed(model, tmp_path / "packed")
    packed = read_packed(tmp_path / "packed")
    columns = {name: tally.counts_KQ.shape[0] for name, tally in tallies_of(model).items()}
    spikes = {name: np.full(count, 6) for name, count in columns.items()}
    half = {name: 0.25 if name.endswith(("down",)) is False else 0.5 for name in columns}
    works = {work.part: work for work in work_per_token(packed, half)}
    places = list(effective(packed, spikes, tokens=12))
    for part in ("mixer", "mlp", "head"):
        own = [place for place in places if place.part == part]
        assert works[part].bytes == pytest.approx(sum(place.bytes for place in own))
        adds = works[part].operations.get("int32_add", 0)
        if part != "head":
            assert adds == pytest.approx(sum(place.accumulates for place in own))
    memory = 2 * 4 * 16 * 16 + 64  # two blocks of four heads; the last input
    assert works["recurrence"].bytes >= 2 * 4 * memory


def test_traffic_is_told_by_store() -> None:
    works = [Work(part="a", operations={}, bytes=8.0), Work(part="b", operations={}, bytes=16.0)]
    assert traffic_picojoules(works) == {"32 kB cache": 60, "1 MB cache": 300, "DRAM": 3900}
    assert list(TRAFFIC) == ["32 kB cache", "1 MB cache", "DRAM"]


def counter(root: Path, name: str, value: int) -> Path:
    folder = root / name
    folder.mkdir(exist_ok=True)
    (folder / "energy_uj").write_text(f"{value}\n")
    (folder / "max_energy_range_uj").write_text("1000000\n")
    return folder


def test_counters_of_energy(tmp_path: Path) -> None:
    first, second = (
        counter(tmp_path, "intel-rapl:0", 100),
        counter(tmp_path, "intel-rapl:1", 900_000),
    )
    counter(tmp_path, "intel-rapl:0:0", 5)  # a part of the first
    assert packages(tmp_path) == [first, second]
    with measured_joules(tmp_path) as found:
        counter(tmp_path, "intel-rapl:0", 500_100)
        counter(tmp_path, "intel-rapl:1", 400_000)  # went past its end
        counter(tmp_path, "intel-rapl:0:0", 300_000)
    assert found.total == pytest.approx(0.5 + 0.5)


def test_no_counter_is_no_number(tmp_path: Path) -> None:
    (tmp_path / "intel-rapl:0").mkdir()
    with measured_joules(tmp_path) as found:
        pass
    assert found.total is None
