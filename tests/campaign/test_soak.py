"""The soaks shrunk to a second each: memory and descriptors stay as they are."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.campaign import soak_engine, soak_training
from tests.campaign.slope import Watch


def test_the_engine_holds_no_more_after_many_forks(tmp_path: Path) -> None:
    watch = soak_engine.soak(soak_engine.tiny(tmp_path), tokens=30_000, seed=0)
    assert abs(watch.grown()) < 2, watch.line()
    assert len(set(watch.descriptors)) == 1


def test_training_holds_no_more_after_many_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASNN_GOOSE_CACHE", "")  # put back afterwards
    watch = soak_training.soak(tmp_path, steps=60, readings=20)
    assert watch.new_blocks() < 15 * 60, watch.line()
    assert len(set(watch.descriptors[5:])) == 1


@pytest.mark.parametrize("growth", [0.0, 0.01])
def test_what_grows_is_seen(growth: float) -> None:
    watch = Watch()
    for number in range(100):
        watch.seconds.append(float(number))
        watch.megabytes.append(50 + growth * number + (number % 3) / 10)
        watch.blocks.append(1000)
        watch.descriptors.append(7 if growth == 0 or number < 50 else 8)
    assert len(watch.wrong()) == (2 if growth else 0), watch.line()
    assert watch.slope() == pytest.approx(3600 * growth, abs=2)
