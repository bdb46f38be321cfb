from __future__ import annotations

import time

import pytest

from asnn_goose.train.throughput import Pace


def test_speed_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    pace = Pace(seconds=50.0)
    assert pace.eta_s(10) == float("inf")
    for _ in range(3):
        with pace.measure(40):
            now[0] += 2.0
        now[0] += 100.0  # a checkpoint: not counted
    assert pace.tokens_per_s == 20.0
    assert pace.eta_s(400) == 20.0
    assert pace.seconds == 56.0
    pace.forget()
    with pace.measure(40):
        now[0] += 1.0
    assert pace.tokens_per_s == 40.0


def test_only_recent_steps_count(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    pace = Pace()
    for duration in [10.0] * 5 + [1.0] * 20:
        with pace.measure(8):
            now[0] += duration
    assert pace.tokens_per_s == 8.0
