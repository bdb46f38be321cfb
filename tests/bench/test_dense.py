"""What bench/dense.py prints, from figures made up here and from students of next to no size."""

from __future__ import annotations

from typing import Any

import pytest
from bench import decode, dense


def figures(*, fast: float) -> decode.Times:
    rates: decode.Times = {}
    for form in dense.FORMS:
        rates[f"{form}, decode"] = [50.0, 60.0, 40.0]
        rates[f"{form}, prefill"] = [100.0, 110.0, 90.0]
    return rates | {dense.BAR.side: [fast, 2 * fast, fast], decode.LLAMA: [100.0, 90.0, 110.0]}


def test_ratios_are_those_of_each_round(capsys: pytest.CaptureFixture[str]) -> None:
    dense.show(figures(fast=120.0), dict.fromkeys(dense.FORMS, 2_000_000))
    lines = capsys.readouterr().out.splitlines()
    (best,) = [line for line in lines if line.startswith("int4, head  ")]
    assert best.split()[2:] == ["2", "120.0", "3.00", "100.0", "1.00"]
    assert lines[-1] == "llama.cpp Q4_1: 100.0 tokens/s; int4, head 1.20 times as fast"


@pytest.mark.parametrize(("fast", "code"), [(120.0, 0), (105.0, 1)])
def test_the_bar_is_looked_at_where_asked(
    fast: float, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dense, "our_sides", lambda *a, **k: ({}, dict.fromkeys(dense.FORMS, 1)))
    monkeypatch.setattr(dense, "in_turns", lambda *a, **k: figures(fast=fast))
    monkeypatch.setattr(dense, "their_side", lambda *a, **k: {})
    for words, wanted in (([], 0), (["--check"], code)):
        monkeypatch.setattr("sys.argv", ["dense.py", *words])
        assert dense.main() == wanted


def test_tiny_students_are_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("asnn_goose._native")
    words: list[Any] = ["--shape", "tiny", "--rounds", "1", "--tokens", "2", "--prompt", "4"]
    monkeypatch.setattr("sys.argv", ["dense.py", *words])
    monkeypatch.delenv("ASNN_GOOSE_LLAMA_CPP", raising=False)
    assert dense.main() == 0
    said = capsys.readouterr().out
    assert "not run: give --llama-cpp" in said
    assert all(f"\n{form}  " in said for form in dense.FORMS)
