from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asnn_goose.study.statistics import false_discovery, paired, spread


@pytest.mark.parametrize(
    ("pairs", "critical"), [(2, 12.7062), (3, 4.3027), (5, 2.7764), (10, 2.2622), (31, 2.0423)]
)
def test_intervals_are_those_of_the_tables(pairs: int, critical: float) -> None:
    found = paired([0.1 * number for number in range(pairs)])
    assert found.half_width / found.error == pytest.approx(critical, abs=5e-5)
    edge = [value - found.mean + found.half_width for value in (0.1 * n for n in range(pairs))]
    assert paired(edge).p == pytest.approx(0.05, abs=1e-6)


def test_paired_by_hand() -> None:
    found = paired([0.1, 0.2, 0.3])
    assert found.mean == pytest.approx(0.2)
    assert found.error == pytest.approx(0.1 / math.sqrt(3))
    # t = 2 sqrt(3) on two degrees of freedom: 1 - t / sqrt(2 + t^2)
    assert found.p == pytest.approx(1 - math.sqrt(12 / 14))
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


def test_false_discovery_by_hand() -> None:
    # p times number over rank, and never above that of a larger p.
    found = false_discovery([0.04, 0.01, math.nan, 0.03])
    assert found[:2] == pytest.approx([0.04, 0.03])
    assert found[3] == pytest.approx(0.04)
    assert math.isnan(found[2])
    assert false_discovery([]) == []
    assert math.isnan(false_discovery([math.nan])[0])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_an_adjusted_p_is_a_probability_that_is_not_smaller(p: list[float]) -> None:
    adjusted = false_discovery(p)
    assert all(a <= q + 1e-12 <= 1 + 2e-12 for a, q in zip(p, adjusted, strict=True))
    assert max(adjusted) == pytest.approx(max(p))
