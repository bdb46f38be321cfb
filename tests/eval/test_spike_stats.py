from __future__ import annotations

import pytest

from asnn_goose.eval.spike_stats import by_site, densities, overall, site_of

COUNTS = {
    "blocks.0.mixer.key": (30, 100),
    "blocks.11.mixer.key": (10, 100),
    "blocks.0.mlp.down": (0, 200),
    "lm_head": (50, 100),
}


def test_by_layer_and_matrix() -> None:
    assert by_site(COUNTS) == {
        "mixer.key": {0: 0.3, 11: 0.1},
        "mlp.down": {0: 0.0},
        "lm_head": {-1: 0.5},
    }
    assert [site_of(name)[0] for name in COUNTS] == [0, 11, 0, None]


def test_overall_weighs_by_inputs() -> None:
    assert overall(COUNTS) == pytest.approx(90 / 500)


def test_nothing_counted() -> None:
    assert overall({}) == 0
    assert densities({"x": (0, 0)}) == {"x": 0.0}
