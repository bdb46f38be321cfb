from __future__ import annotations

import numpy as np
import pytest

from asnn_goose.eval.firing_rate import gaussian_threshold, with_density
from asnn_goose.eval.random_student import SHAPES, Random, random_model
from asnn_goose.eval.spike_stats import densities, overall
from asnn_goose.infer.engine import Engine


def test_gaussian_threshold() -> None:
    x = np.random.default_rng(0).standard_normal(200_000)
    for density in (0.1, 0.3, 0.5):
        fires = np.abs(x) > gaussian_threshold(density) * np.abs(x).mean()
        assert fires.mean() == pytest.approx(density, abs=0.005)


@pytest.mark.parametrize(("steps", "code"), [(1, "rate"), (3, "radix3"), (4, "rate")])
def test_every_matrix_meets_the_wanted_density(steps: int, code: str) -> None:
    wanted = Random(planes=1, steps=steps, code=code, density=0.3)
    model = random_model(SHAPES["tiny"], wanted, backend="reference")
    engine = Engine(model, threads=1, backend="reference")
    engine.prefill(engine.start(), np.arange(64, 128))
    found = densities(engine.counts())
    assert len(found) == 2 * 7
    assert overall(engine.counts()) == pytest.approx(0.3, abs=0.02)
    assert max(abs(d - 0.3) for d in found.values()) < 0.06


def test_an_impossible_density() -> None:
    model = random_model(SHAPES["tiny"], Random(steps=0), backend="reference")
    with pytest.raises(ValueError, match="density = 1: must be above 0 and below 1"):
        with_density(model, 1.0, tokens=np.zeros(1, np.int32), backend="reference")
