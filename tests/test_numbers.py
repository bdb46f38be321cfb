"""Numbers as people write and read them."""

from __future__ import annotations

import pytest

from asnn_goose.numbers import count, duration, size


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 1), ("500", 500), ("200k", 200_000), ("1.5M", 1_500_000), ("32_000", 32_000), (7, 7)],
)
def test_count(text: str | int, value: int) -> None:
    assert count(text) == value


@pytest.mark.parametrize("text", ["0", "-3", "1.5", "0.1k5", "k", "ten", "", "1e3", "1.23456k"])
def test_count_refuses(text: str) -> None:
    with pytest.raises(ValueError, match=r"whole number|at least 1"):
        count(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59, "59 s"), (200, "3 min 20 s"), (3599.6, "1 h 00 min"), (7500, "2 h 05 min")],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_duration_that_nobody_knows_yet() -> None:
    assert duration(float("inf")) == "?"


@pytest.mark.parametrize(
    ("amount", "text"), [(640e3, "640 kB"), (98.2e6, "98 MB"), (1.53e9, "1.5 GB"), (24e9, "24 GB")]
)
def test_size(amount: float, text: str) -> None:
    assert size(amount) == text
