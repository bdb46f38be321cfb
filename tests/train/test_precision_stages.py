"""Precision that changes between stages, also when a run is resumed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from asnn_goose.model import GooseForCausalLM
from asnn_goose.train.loop import run

TABLE = {"*": {"planes": 1}, "receptance": {"rotate": True, "steps": 3, "threshold": 4.0}}


class CrashError(Exception):
    pass


class Crashing:
    """Stops the run dead after a step, as a power cut would."""

    def __init__(self, at: int) -> None:
        self.at = at

    def on_step(self, info: Any) -> None:
        if info.run_step == self.at:
            raise CrashError

    def on_message(self, text: str) -> None:
        pass


def ladder(tiny: ModuleType) -> Any:
    plan = tiny.plan(accumulate=1, noise=False)
    first, second = plan.stages
    return replace(plan, stages=(first, replace(second, precision=TABLE)))


@pytest.mark.parametrize("at", [3, 7, 9])
def test_a_crash_changes_nothing(tiny: ModuleType, tmp_path: Path, at: int) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run(ladder(tiny), out=whole, resume=False, progress=tiny.Watcher())
    with pytest.raises(CrashError):
        run(ladder(tiny), out=broken, resume=False, progress=Crashing(at))
    run(ladder(tiny), out=broken, resume=True, progress=tiny.Watcher())
    files = [folder / "model" / "model.safetensors" for folder in (whole, broken)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_the_student_is_saved_with_its_last_precision(tiny: ModuleType, tmp_path: Path) -> None:
    run(ladder(tiny), out=tmp_path / "run", resume=False, progress=tiny.Watcher())
    student = GooseForCausalLM.from_pretrained(tmp_path / "run" / "model")
    assert student.config.precision == TABLE
    module = student.get_submodule("blocks.1.mixer.receptance")
    assert module.neuron is not None
    assert len(module.weight.unique()) > 3  # what is kept are the latent weights
    codes = module.ternary(module.weight).sign().unique()
    assert torch.equal(codes, torch.tensor([-1.0, 0.0, 1.0]))
