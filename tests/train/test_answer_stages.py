"""One run of all stages that read examples, broken off anywhere."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from asnn_goose.data.example_batches import ExampleLoader
from asnn_goose.data.pair_batches import PairLoader
from asnn_goose.sources import cache_dir
from asnn_goose.train.loop import run
from asnn_goose.train.reference import Reference
from asnn_goose.train.run_errors import RunInterrupted
from asnn_goose.train.stages import Dpo, Gkd, Sft

pytestmark = pytest.mark.usefixtures("own_cache")


def plan_of(answers: ModuleType, tiny: ModuleType) -> Any:
    """Three steps of each kind, on examples."""
    plan = tiny.plan(noise=False, checkpoint_minutes=60.0)
    student, old = plan.student, plan.stages[1]
    teacher, pair_loader = old.stage.teacher, PairLoader(answers.pairs(), **answers.LOADER)
    examples = answers.examples()
    rows = {
        "sft": (Sft, "ce", ExampleLoader(examples, **answers.LOADER), {}),
        "dpo": (Dpo, "dpo", pair_loader, {}),
        "gkd": (
            Gkd,
            "jsd",
            ExampleLoader(examples, alone=True, **answers.LOADER),
            {"samples": answers.SAMPLES},
        ),
    }
    reference = Reference([pair_loader], batch=2, precision="fp32")
    stages = [
        replace(
            old,
            name=name,
            stage=kind(student=student, teacher=teacher, objective=answers.objective(loss), **own),
            loader=loader,
            schedule=replace(old.schedule, steps=3),
            reference=reference if kind is Dpo else None,
        )
        for name, (kind, loss, loader, own) in rows.items()
    ]
    return replace(plan, stages=tuple(stages))


@pytest.fixture(scope="module")
def at_one_go(
    tiny: ModuleType, answers: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("ASNN_GOOSE_CACHE", str(folder / "cache"))
        run(plan_of(answers, tiny), out=folder / "run", resume=False, progress=tiny.Watcher())
        yield folder / "run"


@pytest.mark.parametrize("after", [2, 4, 8])
def test_a_run_that_is_broken_off_goes_on_bit_for_bit(
    tiny: ModuleType, answers: ModuleType, at_one_go: Path, tmp_path: Path, after: int
) -> None:
    class Stopping(tiny.Watcher):  # type: ignore[misc, name-defined]
        def on_step(self, info: Any) -> None:
            super().on_step(info)
            if info.run_step == after:
                os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(RunInterrupted):
        run(plan_of(answers, tiny), out=tmp_path / "run", resume=False, progress=Stopping())
    for file in cache_dir().rglob("*.safetensors"):
        file.unlink()  # a checkpoint needs no cache: the start is gone by now
    watcher = tiny.Watcher()
    run(plan_of(answers, tiny), out=tmp_path / "run", resume=True, progress=watcher)
    assert any("scoring" in text for text in watcher.messages) == (after == 2)
    assert tiny.weights(tmp_path / "run") == tiny.weights(at_one_go)
