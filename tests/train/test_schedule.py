from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asnn_goose.train.schedule import SHAPES, Schedule


def test_warm_up_rises_in_a_line_to_the_peak() -> None:
    schedule = Schedule(shape="cosine", steps=100, warmup=4)
    assert [schedule.factor(step) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_cosine_is_half_way_in_the_middle_and_ends_near_the_floor() -> None:
    schedule = Schedule(shape="cosine", steps=110, warmup=10, floor=0.2)
    assert schedule.factor(60) == pytest.approx(0.6)
    assert schedule.factor(35) == pytest.approx(0.2 + 0.8 * 0.8535534)
    assert schedule.factor(109) == pytest.approx(0.2, abs=1e-3)
    assert schedule.factor(109) > 0.2


def test_constant_stays() -> None:
    schedule = Schedule(shape="constant", steps=10, warmup=2)
    assert [schedule.factor(step) for step in range(10)] == [0.5] + [1.0] * 9


@given(
    st.sampled_from(sorted(SHAPES)),
    st.integers(1, 50),
    st.integers(0, 49),
    st.floats(0, 1),
)
def test_never_above_the_peak_and_never_rising_after_it(
    shape: str, steps: int, warmup: int, floor: float
) -> None:
    schedule = Schedule(shape=shape, steps=steps, warmup=min(warmup, steps - 1), floor=floor)
    factors = [schedule.factor(step) for step in range(steps)]
    assert max(factors) == pytest.approx(1.0)
    after = factors[schedule.warmup :]
    assert all(a >= b - 1e-12 for a, b in pairwise(after))
    assert min(after) >= floor - 1e-12
