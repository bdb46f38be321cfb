from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from tests.train.forked import Forked

from asnn_goose.train.loop import run

SCRIPT = Path(__file__).with_name("tiny_run.py")


def loaded(name: str) -> ModuleType:
    """A file beside this one as a module."""
    spec = importlib.util.spec_from_file_location(name, SCRIPT.with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def tiny() -> ModuleType:
    """tiny_run.py as a module."""
    return loaded("tiny_run")


@pytest.fixture(scope="session")
def answers() -> ModuleType:
    """answers.py as a module."""
    return loaded("answers")


@pytest.fixture
def models(tiny: ModuleType) -> Any:
    """A student and its teacher."""
    plan = tiny.plan(noise=False)
    return plan.student, plan.stages[0].stage.teacher


@pytest.fixture
def stage_of(models: Any, answers: ModuleType) -> Callable[..., Any]:
    """A stage of theirs under losses by name; settings of losses, or of the kind of stage."""

    def make(kind: type, *losses: str, settings: Any = None, **own: Any) -> Any:
        student, teacher = models
        objective = answers.objective(*losses, **(settings or {}))
        return kind(student=student, teacher=teacher, objective=objective, **own)

    return make


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASNN_GOOSE_CACHE", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


class CrashError(Exception):
    pass


@pytest.fixture(scope="session")
def crash(tiny: ModuleType) -> Callable[..., None]:
    """Carry out a plan and stop it dead after a step, as a power cut would."""

    def carry_out(plan: Any, out: Path, *, at: int) -> None:
        class Crashing(tiny.Watcher):  # type: ignore[misc, name-defined]
            def on_step(self, info: Any) -> None:
                if info.run_step == at:
                    raise CrashError

        with pytest.raises(CrashError):
            run(plan, out=out, resume=False, progress=Crashing())

    return carry_out


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folder of the tiny run, carried out at one go in a process of its own."""
    out = tmp_path_factory.mktemp("uninterrupted") / "run"
    code, _, errors = Forked(str(out)).ended()
    assert code == 0, errors
    return out
