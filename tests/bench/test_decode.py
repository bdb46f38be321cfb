"""Bars and points of bench/decode.py and bench/kernels.py, from figures made up here."""

from __future__ import annotations

from typing import Any

import pytest
from bench import decode, kernels, speed_plot

GOOD: decode.Times = {
    decode.SINGLE: [400.0, 500.0, 420.0],
    decode.DOUBLE: [150.0, 130.0, 140.0],
    decode.PREFILL: [900.0, 900.0, 900.0],
    decode.TOGETHER: [600.0, 700.0, 650.0],
    decode.TWO_THREADS: [1000.0, 1100.0, 1000.0],
    decode.LLAMA: [90.0, 100.0, 80.0],
}


def test_all_bars_met(capsys: pytest.CaptureFixture[str]) -> None:
    assert decode.show(GOOD)
    assert "MISSED" not in capsys.readouterr().out


def test_a_ratio_is_that_of_each_round() -> None:
    bar = decode.Bar(side=decode.SINGLE, least=4, over=decode.LLAMA)
    assert bar.found(GOOD) == pytest.approx(5.0)


def test_a_peer_that_did_not_run_is_a_missed_bar(capsys: pytest.CaptureFixture[str]) -> None:
    assert not decode.show({name: found for name, found in GOOD.items() if name != decode.LLAMA})
    assert "not measured" in capsys.readouterr().out


def test_points_for_the_plot() -> None:
    rates = {**GOOD, "runs/x/packed": [310.0]}
    content: dict[str, Any] = decode.points(rates, {"runs/x/packed": 51.8}, 21.2)
    found = speed_plot.rows(content)
    assert [row["tokens_per_s"] for row in found] == [420.0, 140.0, 310.0, 90.0]
    assert [row["name"] for row in found[:1] + found[2:3]] == [
        "1 plane(s), 1 step(s)",
        "runs/x/packed",
    ]
    assert [row["perplexity"] for row in found] == [None, None, 51.8, 21.2]


def row(shape: tuple[int, int], *, product: float, ratio: float | None) -> kernels.Row:
    return kernels.Row(shape=shape, density=0.3, seconds={"product": product}, ratio=ratio)


def test_kernel_bars() -> None:
    fast = 576 * 576 / 400e9
    assert kernels.missed([row((576, 576), product=fast, ratio=None)]) == []
    (slow,) = kernels.missed([row((576, 576), product=2 * fast, ratio=None)])
    assert slow == "576x576: product 200 GMAC/s, should be 350"
    assert kernels.missed([row((768, 768), product=1.0, ratio=6.5)]) == []
    assert "5.0, should be 6" in kernels.missed([row((768, 768), product=1.0, ratio=5.0)])[0]
    assert "not measured" in kernels.missed([row((2048, 2048), product=1.0, ratio=None)])[0]
