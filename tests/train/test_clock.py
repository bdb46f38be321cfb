"""Phases of one stage share a clock: nothing that was learned or has fallen begins again."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from asnn_goose.losses import VOCAB_LOSSES, Objective, Term
from asnn_goose.model.parts.precision_table import PrecisionTable
from asnn_goose.train.loop import run
from asnn_goose.train.plan import RunPlan
from asnn_goose.train.span import Span
from asnn_goose.train.stages import Distill

PRECISION = PrecisionTable({"*": {"planes": 1, "ternary": {"name": "arenas", "until": 1.0}}})
CLOCKS = (Span(stop=0.4), Span(start=0.4))


class StopError(Exception):
    """Raised in the middle of a run."""


def phased(tiny: ModuleType, *, steps: tuple[int, int] = (4, 6)) -> RunPlan:
    """Two phases, both with a learned temperature."""
    plan = tiny.plan(noise=False, steps=steps)
    student, master = plan.student, plan.stages[1].stage.teacher
    stages = []
    for index, (stage, clock) in enumerate(zip(plan.stages, CLOCKS, strict=True)):
        ctkd = VOCAB_LOSSES["ctkd"](range=[1.0, 5.0], start=2.0, hold=0.0, warmup=0.0)
        objective = Objective([Term("ctkd", 1.0, ctkd)], chunk=24)
        kind = Distill(student=student, teacher=master, objective=objective)
        stages.append(
            replace(
                stage,
                name=f"phase.{index + 1}",
                stage=kind,
                trained=plan.stages[1].trained,
                precision=PRECISION,
                clock=clock,
            )
        )
    return replace(plan, stages=tuple(stages))


def watched(tiny: ModuleType, plan: RunPlan, *, stop: int = 0) -> Any:
    """A watcher that notes the share of dense weights that is left, and stops a run."""

    class Watcher(tiny.Watcher):
        def __init__(self) -> None:
            super().__init__()
            self.left: list[float] = []

        def on_step(self, info: Any) -> None:
            super().on_step(info)
            methods = [m for m in plan.student.modules() if hasattr(m, "residual")]
            self.left.append(methods[0].residual)
            if info.run_step == stop:
                raise StopError

    return Watcher()


@pytest.fixture(scope="module")
def carried_out(tiny: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """Run folder of the two phases at one go, and who watched."""
    plan, out = phased(tiny), tmp_path_factory.mktemp("phases") / "run"
    watcher = watched(tiny, plan)
    run(plan, out=out, resume=False, progress=watcher)
    return out, watcher


def test_temperatures_and_dense_weights_go_on(carried_out: tuple[Path, Any]) -> None:
    watcher = carried_out[1]
    taus = [info.readings["ctkd.temperature"] for info in watcher.steps]
    assert abs(taus[3] - 2.0) > 0.05  # it has moved, and the next phase goes on from there
    assert abs(taus[4] - taus[3]) < abs(taus[4] - 2.0)
    assert all(later < earlier for earlier, later in pairwise(watcher.left))
    assert watcher.left[-1] < 0.1


def test_a_phase_that_does_not_go_on_begins_again(tiny: ModuleType, tmp_path: Path) -> None:
    plan = phased(tiny)
    plan = replace(plan, stages=tuple(replace(stage, clock=Span()) for stage in plan.stages))
    watcher = watched(tiny, plan)
    run(plan, out=tmp_path / "run", resume=False, progress=watcher)
    assert watcher.steps[4].readings["ctkd.temperature"] == pytest.approx(2.0, abs=1e-3)
    assert watcher.left[4] > watcher.left[3]


@pytest.mark.parametrize("stop", [5, 7])  # from the checkpoint between the phases, and within one
def test_a_resumed_run_is_the_same(
    tiny: ModuleType, carried_out: tuple[Path, Any], tmp_path: Path, stop: int
) -> None:
    plan = phased(tiny)
    with pytest.raises(StopError):
        run(plan, out=tmp_path / "cut", resume=False, progress=watched(tiny, plan, stop=stop))
    run(phased(tiny), out=tmp_path / "cut", resume=True, progress=tiny.Watcher())
    assert tiny.weights(tmp_path / "cut") == tiny.weights(carried_out[0])


def test_a_stage_tells_how_far_the_fall_of_its_precision_is(tiny: ModuleType) -> None:
    stage = phased(tiny).stages[1].stage
    told: list[float] = []
    stage.student.anneal = told.append
    stage.anneals = Span(start=0.5, stop=0.75)
    batch = tiny.plan(noise=False).stages[0].loader.next(0.5)
    stage.anneal(batch)
    assert told == [0.625]
