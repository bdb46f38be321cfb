"""The frontier's script: depths, turns, sides that cannot run; a tiny student on the engine."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
from bench import frontier
from bench.peers.llama_cpp import LlamaBench
from bench.peers.peer import NotRunError

from asnn_goose.eval.random_student import SHAPES, Random, random_model
from asnn_goose.infer.engine import Engine


def options(**changes: Any) -> argparse.Namespace:
    usual = {"rounds": 3, "depths": (0, 5), "tokens": 4, "scored": 100, "text": Path("x.txt")}
    return argparse.Namespace(**(usual | changes))


def test_sides_take_turns_and_medians_are_kept() -> None:
    called: list[tuple[str, int]] = []
    rates = {"a": iter([1.0, 10.0, 3.0, 30.0, 2.0, 20.0])}

    def rate(name: str, depth: int) -> float:
        called.append((name, depth))
        return next(rates[name]) if name in rates else 7.0

    sides = [
        (frontier.Point(name=name, ours=True), lambda depth, n=name: rate(n, depth))
        for name in ("a", "b")
    ]
    sides.append((frontier.Point(name="c", ours=False, note="not run: no such program"), None))
    one, two, three = frontier.measured(sides, options())
    assert one.rates == {0: 2.0, 5: 20.0}
    assert two.rates == {0: 7.0, 5: 7.0}
    assert three.rates == {}
    assert called[:4] == [("a", 0), ("a", 5), ("b", 0), ("b", 5)]


def test_a_student_decodes_after_a_context(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(random_model(SHAPES["tiny"], Random(shape="tiny")), threads=1)
    read: list[int] = []
    prefill = engine.prefill

    def watched(state: Any, tokens: Any, **more: Any) -> Any:
        read.append(len(tokens))
        return prefill(state, tokens, **more)

    monkeypatch.setattr(engine, "prefill", watched)
    assert frontier.engine_rate(engine, 20, tokens=6) > 0
    assert read[0] == 20
    assert sum(read[1:]) == 7  # the first of them is not timed


def test_without_llama_cpp_its_sides_say_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "teacher").mkdir()
    (tmp_path / "teacher" / "a.gguf").write_bytes(b"GGUF")
    monkeypatch.setattr(frontier, "teacher_folder", lambda name: tmp_path / "teacher")
    (tmp_path / "scratch").mkdir()
    sides = list(frontier.their_sides(options(llama_cpp=tmp_path), tmp_path / "scratch"))
    assert [point.name for point, _ in sides] == [f"llama.cpp {kind}" for kind in frontier.TYPES]
    assert len(sides) >= 6
    assert all(point.note.startswith("not run: no llama-") for point, _ in sides)
    with pytest.raises(NotRunError):
        frontier.llama_rate(LlamaBench(folder=tmp_path), tmp_path / "a.gguf", 0, tokens=1)


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    points = [
        frontier.Point(name="ours", ours=True, perplexity=30.0, rates={0: 300.0, 2048: 300.0}),
        frontier.Point(name="theirs", ours=False, perplexity=20.0, rates={0: 90.0, 2048: 60.0}),
        frontier.Point(name="missing", ours=False, note="not run"),
    ]
    frontier.draw(points, tmp_path / "frontier.png")
    assert (tmp_path / "frontier.png").stat().st_size > 10_000
