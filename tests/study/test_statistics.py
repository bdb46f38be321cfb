from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asnn_goose.study.statistics import paired, spread, t_critical, t_two_sided


@pytest.mark.parametrize(
    ("freedom", "critical"),
    [(1, 12.7062), (2, 4.3027), (3, 3.1824), (4, 2.7764), (9, 2.2622), (30, 2.0423)],
)
def test_critical_values_are_those_of_the_tables(freedom: int, critical: float) -> None:
    assert t_critical(freedom) == pytest.approx(critical, abs=5e-5)
    assert t_two_sided(critical, freedom) == pytest.approx(0.05, abs=1e-5)


@given(st.floats(0, 50), st.integers(1, 40))
def test_p_is_a_probability_and_falls_with_t(t: float, freedom: int) -> None:
    p = t_two_sided(t, freedom)
    assert 0 <= p <= 1
    assert t_two_sided(t + 0.1, freedom) <= p + 1e-12
    assert t_two_sided(-t, freedom) == p


def test_p_against_the_integral_of_the_density() -> None:
    for freedom, t in ((1, 0.7), (2, 1.3), (5, 2.0), (8, 0.4)):
        scale = math.gamma((freedom + 1) / 2) / math.gamma(freedom / 2)
        scale /= math.sqrt(freedom * math.pi)
        steps = 2000
        middles = [t * (i + 0.5) / steps for i in range(steps)]
        inside = sum((1 + x * x / freedom) ** (-(freedom + 1) / 2) for x in middles)
        assert t_two_sided(t, freedom) == pytest.approx(
            1 - 2 * scale * inside * t / steps, abs=1e-6
        )


def test_paired_by_hand() -> None:
    found = paired([0.1, 0.2, 0.3])
    assert found.mean == pytest.approx(0.2)
    assert found.error == pytest.approx(0.1 / math.sqrt(3))
    assert found.p == pytest.approx(t_two_sided(2 * math.sqrt(3), 2))
    assert found.half_width == pytest.approx(4.3027 * found.error, rel=1e-4)


def test_one_pair_has_a_mean_and_no_error() -> None:
    found = paired([0.5])
    assert (found.pairs, found.mean) == (1, 0.5)
    assert math.isnan(found.error)
    assert math.isnan(found.p)
    assert math.isnan(found.half_width)
    assert math.isnan(spread([0.5]))


def test_equal_differences_are_certain() -> None:
    assert paired([0.5, 0.5]).p == 0.0
    assert paired([0.0, 0.0]).p == 1.0


def test_nothing_to_compare_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one pair"):
        paired([])
    with pytest.raises(ValueError, match="freedom = 0"):
        t_two_sided(1.0, 0)
