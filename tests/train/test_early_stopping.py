from __future__ import annotations

import json

import pytest

from asnn_goose.train.early_stopping import Ending, EndSettings


def test_patience_counts_looks_without_a_new_best() -> None:
    ending = Ending(EndSettings(by="validation", patience=2, min_delta=0.1))
    # 0.95 is better, but by less than min_delta
    assert [ending.look(value) for value in (1.0, 0.95, 0.8, 0.85)] == [False] * 4
    assert ending.look(0.75)


def test_the_mean_has_no_bias_at_the_start() -> None:
    ending = Ending(EndSettings(by="plateau", smoothing=0.5))
    ending.see(4.0)
    assert ending.smoothed == pytest.approx(4.0)
    ending.see(1.0)
    assert ending.smoothed == pytest.approx((0.5 * 4 + 1) / 1.5)


def test_its_memory_can_be_kept() -> None:
    one, other = (Ending(EndSettings(by="plateau", every=3)) for _ in range(2))
    for state in (one.state(), None, None):
        other.restore(json.loads(json.dumps(state or one.state())))
        assert other.state() == one.state()
        one.see(2.0)
        one.look(1.0)
        one.look(1.0)
    assert [one.due(step) for step in (1, 2, 3, 6)] == [False, False, True, True]


def test_a_best_that_was_measured_otherwise_is_forgotten() -> None:
    ending = Ending(EndSettings(by="validation", patience=1))
    before = {"best": 0.001, "waited": 3, "sum": 0.0, "weight": 0.0}
    ending.restore(before)
    assert not ending.look(2.0)
    ending.restore(json.loads(json.dumps(ending.state())))
    assert ending.look(2.5)
