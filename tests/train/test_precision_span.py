"""An early end says so where full precision was still carrying the student."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from asnn_goose.model.parts.precision_table import PrecisionTable
from asnn_goose.train.early_stopping import EndSettings
from asnn_goose.train.loop import run
from asnn_goose.train.precision_span import annealed_until


@pytest.mark.parametrize(("until", "warned"), [(1.0, True), (0.2, False)])
def test_an_early_end_within_the_fall_is_told(
    tiny: ModuleType, tmp_path: Path, until: float, warned: bool
) -> None:
    plan = tiny.plan(noise=False, steps=(1, 8))
    table = PrecisionTable({"*": {"planes": 1, "ternary": {"name": "arenas", "until": until}}})
    end = EndSettings(by="plateau", every=2, patience=1, min_delta=100.0)
    stage = replace(plan.stages[1], precision=table, end=end)
    watcher = tiny.Watcher()
    run(replace(plan, stages=(stage,)), out=tmp_path / "run", resume=False, progress=watcher)
    assert annealed_until(plan.student) == until
    told = [text for text in watcher.messages if "which falls until" in text]
    assert bool(told) is warned
    assert any("ends after 4 steps" in text for text in watcher.messages)


@pytest.mark.parametrize(
    ("row", "share"),
    [
        ({"planes": 1, "ternary": {"name": "arenas", "until": 0.3}}, 0.3),
        ({"planes": 1, "ternary": {"name": "tervit", "eight_bit": 0.7}}, 0.7),
        ({"steps": 1, "neuron": {"name": "mean", "fade": 0.6}}, 0.6),
        ({"planes": 1, "ternary": "absmean"}, 0.0),
    ],
)
def test_whatever_lasts_for_a_share_is_seen(
    tiny: ModuleType, row: dict[str, Any], share: float
) -> None:
    student = tiny.plan(noise=False).student
    student.set_precision({"*": row})
    assert annealed_until(student) == share
