"""The costs that a server tells are those that eval reports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from asnn_goose.eval.energy import work_per_token
from asnn_goose.eval.random_student import SHAPES, random_student
from asnn_goose.eval.served_costs import additions_per_spike, kv_bytes, serving_costs
from asnn_goose.format.packed import PackedModel, read_packed, write_packed
from asnn_goose.infer.server.costs import Activity
from asnn_goose.model.parts.precision import Precision


@pytest.fixture
def model(tmp_path: Path) -> PackedModel:
    precision = Precision(planes=1, steps=3, threshold=4.0)
    write_packed(tmp_path, *random_student(SHAPES["tiny"], precision))
    return read_packed(tmp_path)


def test_a_tokens_arithmetic_is_that_of_its_densities(model: PackedModel) -> None:
    random, possible = np.random.default_rng(0), dict[str, int]()
    for name in additions_per_spike(model):
        possible[name] = 3 * (128 if name.endswith("down") else 64)
    came = np.array([random.integers(1, most) for most in possible.values()], np.float32)
    densities = {
        name: float(spikes) / possible[name] for name, spikes in zip(possible, came, strict=True)
    }
    works = work_per_token(model, densities)
    told = Activity(possible, serving_costs(model)).of_token(came)
    assert told["additions"] == pytest.approx(sum(w.additions for w in works), rel=1e-5)
    assert told["multiplications"] == pytest.approx(sum(w.multiplications for w in works), rel=1e-5)
    assert told["picojoules"] == pytest.approx(sum(w.picojoules for w in works), rel=1e-5)


def test_shares_are_by_layer_and_by_matrix(model: PackedModel) -> None:
    possible = {"blocks.0.mlp.up": 10, "blocks.1.mlp.up": 30, "blocks.1.mixer.k": 10, "lm_head": 4}
    activity = Activity(possible, serving_costs(model))
    told = activity.of_token(np.array([5, 15, 0, 1], np.float32))
    assert told["layers"] == [0.5, 0.375, 0.25]
    assert activity.matrices == ["mlp.up", "mixer.k", "lm_head"]
    assert told["matrices"] == [0.5, 0.0, 0.25]


def test_a_dense_student_has_only_arithmetic(tmp_path: Path) -> None:
    write_packed(tmp_path, *random_student(SHAPES["tiny"], Precision()))
    dense = read_packed(tmp_path)
    told = Activity({}, serving_costs(dense)).of_token(np.zeros(0, np.float32))
    assert told["layers"] == told["matrices"] == []
    works = work_per_token(dense, {})
    assert told["multiplications"] == pytest.approx(sum(w.multiplications for w in works))


def test_a_key_value_cache_is_that_of_the_teachers_heads(model: PackedModel) -> None:
    assert kv_bytes(dict(model.config), None) == 2 * 2 * 2 * 64
    assert kv_bytes(dict(model.config), 1) == 2 * 2 * 2 * 32
