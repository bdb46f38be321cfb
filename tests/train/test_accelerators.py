"""What would go wrong on a GPU or beside a bf16 teacher, seen on a CPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from asnn_goose.train import starts
from asnn_goose.train.loop import run
from asnn_goose.train.plan import StagePlan, Starts


class ReachedError(Exception):
    """The place that the test is about."""


def test_a_student_is_on_the_device_before_it_is_fitted(
    tiny: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []

    def start(plan: StagePlan, *, accelerator: Accelerator, tell: Any) -> None:
        parameters = plan.stage.student.parameters()
        found.append((accelerator.device.type, {p.device.type for p in parameters}))
        raise ReachedError

    plan = tiny.plan()
    monkeypatch.setattr(starts, "start", start)
    monkeypatch.setattr(Accelerator, "device", property(lambda _: torch.device("meta")))
    with pytest.raises(ReachedError):
        run(plan, out=tmp_path / "run", resume=False, progress=tiny.Watcher())
    assert found == [("meta", {"meta"})]


@pytest.mark.parametrize("key", ["balance", "least_squares"])
def test_fits_bear_a_bf16_teacher(tiny: ModuleType, key: str) -> None:
    plan = tiny.plan(noise=False)
    stage = replace(plan.stages[0], starts=Starts(**{key: 64}))
    stage.stage.teacher.model.to(torch.bfloat16)
    before = {name: tensor.clone() for name, tensor in plan.student.state_dict().items()}
    starts.start(stage, accelerator=plan.accelerator, tell=lambda text: None)
    after = plan.student.state_dict()
    assert any(not torch.equal(after[name], tensor) for name, tensor in before.items())
    assert all(tensor.isfinite().all() for tensor in after.values())
