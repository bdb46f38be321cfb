"""Teacher and student on the same windows, and what is kept beside the numbers."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from asnn_goose.eval.comparison import Measurement, Protocol, measure, ratio
from asnn_goose.eval.perplexity import LabelledWindow, TraceFn
from asnn_goose.trace import Trace

V = 16


def sharpened(amount: float) -> TraceFn:
    """A model that favours repeating the token it sees, by `amount` nats."""

    def trace(tokens_BT: Tensor, needs: frozenset[str]) -> Trace:
        return Trace(
            final_BTD=torch.nn.functional.one_hot(tokens_BT, V).float() * amount,
            head_VD=torch.eye(V),
        )

    return trace


@pytest.fixture
def texts() -> dict[str, list[LabelledWindow]]:
    ids = torch.arange(41).div(2, rounding_mode="floor").remainder(V)[None]
    return {"a": [(ids[:, :-1], ids[:, 1:])], "b": [(ids[:, :10], ids[:, 1:11])]}


def both(texts: dict[str, list[LabelledWindow]]) -> tuple[list[Measurement], list[Measurement]]:
    teacher = measure(sharpened(1.0), texts, model="teacher", protocol=Protocol())
    student = measure(sharpened(0.0), texts, model="student", protocol=Protocol())
    return teacher, student


def test_one_measurement_per_text(texts: dict[str, list[LabelledWindow]]) -> None:
    teacher, student = both(texts)
    assert [(m.text, m.model, m.score.tokens) for m in teacher] == [
        ("a", "teacher", 40),
        ("b", "teacher", 10),
    ]
    assert student[0].score.perplexity == pytest.approx(V)
    assert student[0].tokens_per_s > 0
    assert student[0].peak_bytes > 50e6


def test_ratio_is_student_over_teacher(texts: dict[str, list[LabelledWindow]]) -> None:
    teacher, student = both(texts)
    expected = student[0].score.perplexity / teacher[0].score.perplexity
    assert ratio(student[0], teacher[0]) == pytest.approx(expected)
    assert expected > 1


def test_no_ratio_between_different_windows(texts: dict[str, list[LabelledWindow]]) -> None:
    teacher, student = both(texts)
    with pytest.raises(ValueError, match="identical windows"):
        ratio(student[0], teacher[1])
    with pytest.raises(ValueError, match="identical windows"):
        ratio(student[0], replace(teacher[0], text="b"))


def test_everything_goes_into_json(texts: dict[str, list[LabelledWindow]]) -> None:
    protocol = Protocol(window=128, limit=1000, seed=7).as_dict()
    assert (protocol["window"], protocol["limit"], protocol["seed"]) == (128, 1000, 7)
    assert protocol["threads"] == torch.get_num_threads()
    assert protocol["versions"]["torch"].startswith(torch.__version__.split("+")[0])
    row = json.loads(json.dumps(both(texts)[0][0].as_dict()))
    assert row["score"]["tokens"] == 40
    assert row["perplexity"] == pytest.approx(both(texts)[0][0].score.perplexity)


def test_protocol_in_words() -> None:
    assert "window 256" in Protocol(window=256).describe()
    assert "all tokens" in Protocol(limit=None).describe()
    assert "32,000 tokens" in Protocol(limit=32_000).describe()


def test_meter_sees_a_peak_that_is_gone_again() -> None:
    # A process of its own: not every kernel can forget the peak that earlier tests had.
    script = """
from asnn_goose.meter import measured
with measured() as idle:
    pass
with measured() as busy:
    block = bytes(1) * 400_000_000
    del block
print(idle.peak_bytes, busy.peak_bytes, idle.seconds, busy.seconds)
"""
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    idle, busy, idle_seconds, busy_seconds = map(float, found.stdout.split())
    assert busy - idle > 390e6
    assert busy_seconds > idle_seconds >= 0
