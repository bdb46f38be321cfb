"""What goes wrong in a run: losses that are not finite, a full disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from asnn_goose import disk
from asnn_goose.train import checkpoint
from asnn_goose.train.loop import run
from asnn_goose.train.run_errors import CheckpointError, RunFolderError, TrainingDiverged


class Poison(torch.nn.Module):
    """Turns a loss into NaN from some step of its stage on."""

    def __init__(self, objective: Any, *, at: float) -> None:
        super().__init__()
        self.inner, self.at = objective, at
        self.needs, self.teacher_needs = objective.needs, objective.teacher_needs
        self.wants_head, self.readings = objective.wants_head, objective.readings
        self.teacher_takes, self.wants_sizes = objective.teacher_takes, objective.wants_sizes
        self.losses, self.beside = objective.losses, objective.beside

    def forward(self, student: Any, teacher: Any, batch: Any) -> Any:
        terms = self.inner(student, teacher, batch)
        if batch.progress >= self.at:
            terms["kl"] = terms["kl"] + float("nan")
        return terms


def test_divergence_stops_before_the_step_is_applied(tiny: ModuleType, tmp_path: Path) -> None:
    plan = tiny.plan()
    stage = plan.stages[1].stage
    stage.objective = Poison(stage.objective, at=0.5)
    watcher = tiny.Watcher()
    with pytest.raises(TrainingDiverged) as stopped:
        run(plan, out=tmp_path / "run", resume=False, progress=watcher)
    assert (stopped.value.step, stopped.value.stage) == (4, "distill")
    assert stopped.value.tensor == "loss term 'kl'"
    newest = checkpoint.steps(tmp_path / "run" / "checkpoints")[0]
    assert stopped.value.checkpoint == newest
    assert newest.name == "step-00000009"
    stored = load_file(newest / "model.safetensors")
    for name, parameter in plan.student.named_parameters():
        assert torch.equal(stored[f"student.{name}"], parameter)
    assert str(newest) in str(stopped.value)
    assert len(watcher.steps) == 9


def test_weights_that_are_not_finite_are_never_saved(tiny: ModuleType, tmp_path: Path) -> None:
    plan = tiny.plan()

    class Breaking(tiny.Watcher):  # type: ignore[misc, name-defined]
        def on_step(self, info: Any) -> None:
            if info.run_step == 3:
                with torch.no_grad():
                    plan.student.blocks[1].mixer.value.weight[0, 0] = float("inf")

    with pytest.raises(TrainingDiverged, match=r"'blocks\.1\.mixer\.value\.weight'"):
        run(plan, out=tmp_path / "run", resume=False, progress=Breaking())
    assert checkpoint.steps(tmp_path / "run" / "checkpoints")[0].name == "step-00000002"


def full_disk(monkeypatch: pytest.MonkeyPatch, *, writes: set[int]) -> None:
    """Fail the given checkpoint writes (counted from 1) as a full disk does, half way through."""
    count = 0
    original = checkpoint.save_file

    def save_file(tensors: Any, path: Path) -> None:
        nonlocal count
        count += path.name == "model.safetensors"
        if count in writes:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        original(tensors, path)

    monkeypatch.setattr(checkpoint, "save_file", save_file)


def test_full_disk_is_reported_and_training_goes_on(
    tiny: ModuleType, tmp_path: Path, uninterrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full_disk(monkeypatch, writes={3, 4, 5, 6})
    watcher = tiny.train(tmp_path / "run")
    trouble = [text for text in watcher.messages if "No space left" in text]
    assert len(trouble) == 4
    assert "step-00000002 is still good; training goes on" in trouble[-1]
    assert tiny.weights(tmp_path / "run") == tiny.weights(uninterrupted)


def test_full_disk_at_the_end_leaves_the_last_good_checkpoint(
    tiny: ModuleType, tmp_path: Path, uninterrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        full_disk(patch, writes=set(range(9, 20)))
        with pytest.raises(CheckpointError, match=r"No space left .* step-00000008 is still good"):
            tiny.train(out)
    assert checkpoint.damage(out / "checkpoints" / "step-00000008") is None
    assert not (out / "model").exists()
    tiny.train(out, resume=True)
    assert tiny.weights(out) == tiny.weights(uninterrupted)


def test_full_disk_while_the_model_is_written(
    tiny: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sync(path: Path) -> None:
        if path.name == "tokenizer.json":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(disk, "sync", sync)
        with pytest.raises(RunFolderError, match="make room"):
            tiny.train(tmp_path / "run")
    assert not (tmp_path / "run" / "model").exists()
    assert not list((tmp_path / "run").glob(".*.unfinished"))
    tiny.train(tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "model").exists()
