from __future__ import annotations

import math
from typing import Any

import pytest
from torch import Tensor

from asnn_goose.eval.costs import bits
from asnn_goose.model import GooseForCausalLM
from asnn_goose.study.allocation import Allocation, allocate
from asnn_goose.study.sensitivity import mean_loss

ONE: dict[str, Any] = {"planes": 1, "steps": 1, "threshold": 0.9}
TWO: dict[str, Any] = {"planes": 2, "steps": 3, "threshold": 4.0}
INTERMEDIATE = 256
SIZES = {"key": 64 * 64, "down": 64 * INTERMEDIATE}
Windows = list[tuple[Tensor, Tensor]]


def found(student: GooseForCausalLM, windows: Windows, budget: float, **changes: Any) -> Allocation:
    costs = bits((ONE, TWO), weights=3 * sum(SIZES.values()))
    settings = {"rungs": (ONE, TWO), "costs": costs, "names": tuple(SIZES)}
    return allocate(student, windows, budget=budget, **settings | changes)


def loss_of(student: GooseForCausalLM, windows: Windows, table: dict[str, Any]) -> float:
    own = dict(student.config.precision or {})
    student.set_precision({**own, **table})
    loss = mean_loss(student, windows)
    student.set_precision(own)
    return loss


def test_the_first_choice_gains_most_for_its_cost(
    student: GooseForCausalLM, windows: Windows
) -> None:
    size = {f"{layer}.{name}": SIZES[name] for layer in range(3) for name in SIZES}
    cheap = dict.fromkeys(size, ONE)
    start = loss_of(student, windows, cheap)
    alone = {p: loss_of(student, windows, {**cheap, p: TWO}) for p in size}
    best = max(size, key=lambda p: (start - alone[p]) / size[p])
    assert best != min(alone, key=alone.__getitem__)  # the largest gain costs more than it is worth
    budget = 2 + 2 * size[best] / sum(size.values()) + 1e-6  # enough for a single place
    one = found(student, windows, budget=budget)
    assert [f"{a}.{name}" for (a, _, name), rung in one.chosen.items() if rung] == [best]
    assert one.way[0] == pytest.approx((2.0, start), abs=1e-5)
    assert one.way[1] == pytest.approx((budget, alone[best]), abs=1e-5)
    assert one.precision() == {"*": ONE, best: TWO}


@pytest.mark.parametrize("patience", [0, 2, 100])
def test_the_budget_is_kept_and_used(
    student: GooseForCausalLM, windows: Windows, patience: int
) -> None:
    all_ = found(student, windows, budget=4.0, patience=patience)
    assert set(all_.chosen.values()) == {1}
    assert all_.spent == pytest.approx(4.0)
    assert len(all_.way) == 7
    own = {f"{layer}.{name}": TWO for layer in range(3) for name in ("key", "down")}
    assert all_.way[-1][1] == pytest.approx(loss_of(student, windows, own), abs=1e-4)
    half = found(student, windows, budget=3.1, patience=patience)
    assert 3.1 - 2 * 64 * 256 / 61_440 < half.spent <= 3.1  # no place is left that fits
    assert len(half.way) == 1 + sum(half.chosen.values())


def test_neighbours_are_alike_and_what_a_student_had_comes_back(
    student: GooseForCausalLM, windows: Windows
) -> None:
    own = {"*": {"planes": 2}}
    student.set_precision(own)
    pair = found(student, windows, budget=3.4, together=2)
    assert [place[:2] for place in pair.chosen] == [(0, 1), (0, 1), (2, 2), (2, 2)]
    assert student.config.precision == own
    assert set(pair.chosen.values()) == {0, 1}
    table = pair.precision()
    for (first, last, name), rung in pair.chosen.items():
        for layer in range(first, last + 1):
            assert table.get(f"{layer}.{name}", table["*"]) == (ONE, TWO)[rung]


def test_what_cannot_be_is_refused(student: GooseForCausalLM, windows: Windows) -> None:
    with pytest.raises(ValueError, match="together = 0"):
        found(student, windows, budget=3, together=0)
    with pytest.raises(ValueError, match=r"1 rung\(s\)"):
        found(student, windows, budget=3, rungs=(ONE,))
    with pytest.raises(ValueError, match="rung 2 costs no more than rung 1"):
        bits((ONE, ONE), weights=5)
    for budget in (1.9, math.nan):
        with pytest.raises(ValueError, match="at the cheapest rung costs 2"):
            found(student, windows, budget=budget)
