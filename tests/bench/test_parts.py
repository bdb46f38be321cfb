"""What bench/parts.py cuts away, and the figures it makes of what is left."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from bench import parts
from bench.shrunk import FEW, PARTS, RANK, columns, shrunk

from asnn_goose.eval.random_student import SHAPES, Random, random_model
from asnn_goose.format.packed import PackedModel
from asnn_goose.infer.engine import Engine

FORMS = {"spikes": Random(steps=2), "int4": Random(planes=0, steps=0, dense="int4", head="int4")}


@pytest.fixture(scope="module", params=FORMS.values(), ids=FORMS)
def model(request: pytest.FixtureRequest) -> PackedModel:
    return random_model(SHAPES["tiny"], request.param)


@pytest.mark.parametrize("part", PARTS)
def test_a_shrunk_student_runs_and_reads_less(model: PackedModel, part: str) -> None:
    pytest.importorskip("asnn_goose._native")
    small = shrunk(model, part)
    assert np.isfinite(Engine(small, threads=1).step([Engine(small).start()], [3])).all()
    for one in ("head", "low-rank", "mlp"):
        less = parts.tensor_bytes(small, one) < parts.tensor_bytes(model, one)
        assert less == (part in {one, "layers"} and (part, one) != ("layers", "head"))


def test_what_is_cut_is_what_is_left_of_a_matrix(model: PackedModel) -> None:
    mlp, low = shrunk(model, "mlp"), shrunk(model, "low-rank")
    name = "blocks.1.mixer.decay.down"
    np.testing.assert_array_equal(low.dense(name), model.dense(name)[:RANK])
    name = "blocks.1.mlp.down"
    np.testing.assert_array_equal(mlp.dense(name), model.dense(name)[:, :FEW])
    assert len(mlp.dense("blocks.1.mlp.gate")) == FEW


def test_scales_of_groups_are_not_cut() -> None:
    with pytest.raises(ValueError, match="groups"):
        columns("scale", np.ones((1, 2, 8), np.float32), 64)


@dataclass
class Machine:
    weight_bits: float = 1e9
    vector_bytes: int = 32

    def reading(self, size: int) -> float:
        return float(size)


def test_a_packed_student_is_measured_whole(
    model: PackedModel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("asnn_goose._native")
    monkeypatch.setattr(parts, "read_packed", lambda folder: model)
    monkeypatch.setattr(parts, "measure", Machine)
    monkeypatch.setattr(parts, "TOKENS", 2)
    monkeypatch.setattr("sys.argv", ["parts.py", "folder", "--rounds", "1"])
    parts.main()
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("whole token")


def test_columns_that_fire_are_read_once_for_all_steps(model: PackedModel) -> None:
    if not model.matrices:
        return
    every = parts.part(model, "mlp", 1.0, density=1.0)
    assert every.bytes_read == parts.tensor_bytes(model, "mlp")
    assert parts.part(model, "mlp", 1.0, density=0.1).bytes_read == pytest.approx(
        every.added * 0.1 / 4
    )
