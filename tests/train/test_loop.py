from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from asnn_goose.train import checkpoint
from asnn_goose.train.folder import locked
from asnn_goose.train.loop import run
from asnn_goose.train.run_errors import (
    CheckpointError,
    RunFolderError,
    RunInterrupted,
)


def interrupt(tiny: ModuleType, out: Path, *, after: int, resume: bool = False) -> Any:
    """Stop a tiny run by SIGTERM after a step of the run."""

    class Stopping(tiny.Watcher):  # type: ignore[misc, name-defined]
        def on_step(self, info: Any) -> None:
            super().on_step(info)
            if info.run_step == after:
                os.kill(os.getpid(), signal.SIGTERM)

    watcher = Stopping()
    with pytest.raises(RunInterrupted) as stopped:
        run(tiny.plan(checkpoint_minutes=60.0), out=out, resume=resume, progress=watcher)
    assert stopped.value.exit_code == 143
    return watcher


def test_a_run_leaves_recipe_metrics_checkpoints_and_model(
    tiny: ModuleType, tmp_path: Path
) -> None:
    watcher = tiny.train(tmp_path / "run")
    out = tmp_path / "run"
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["run_step"] for line in lines] == list(range(1, 13))
    assert [line["stage"] for line in lines] == ["align"] * 6 + ["distill"] * 6
    assert lines[-1]["tokens_seen"] == lines[-1]["tokens_total"] == 6 * 64 + 6 * 128
    assert [info.run_step for info in watcher.steps] == list(range(1, 13))
    assert {line["tokens_total"] for line in lines} == {6 * 64 + 6 * 128}
    assert set(lines[0]["terms"]) == {"attention_output", "noise"}
    assert lines[0]["loss"] == pytest.approx(sum(lines[0]["terms"].values()))
    assert (out / "recipe.toml").read_text() == 'name = "tiny"\n'
    assert [path.name for path in checkpoint.steps(out / "checkpoints")] == ["step-00000012"]
    assert not list(out.rglob("*.unfinished"))
    assert (out / "model" / "tokenizer.json").exists()


def test_align_touches_mixers_only_and_stores_nothing_else(
    tiny: ModuleType, tmp_path: Path
) -> None:
    plan = tiny.plan(steps=(3, 1), noise=False)
    plan = replace(plan, stages=plan.stages[:1])
    before = {name: p.clone() for name, p in plan.student.named_parameters()}
    run(plan, out=tmp_path / "run", resume=False, progress=tiny.Watcher())
    changed = {n for n, p in plan.student.named_parameters() if not torch.equal(p, before[n])}
    assert changed
    assert all(".mixer." in name for name in changed)
    assert any("receptance" in name for name in changed)
    newest = checkpoint.steps(tmp_path / "run" / "checkpoints")[0]
    stored = load_file(newest / "model.safetensors")
    assert {name.removeprefix("student.") for name in stored} == set(plan.stages[0].trained())


def test_checkpoints_come_when_due_and_not_more_often(tiny: ModuleType, tmp_path: Path) -> None:
    watcher = tiny.train(tmp_path / "run", checkpoint_minutes=60.0)
    saved = [text for text in watcher.messages if text.startswith("saved")]
    assert [text[-2:] for text in saved] == ["06", "12"]  # the ends of the stages


def test_a_run_under_way_keeps_as_many_checkpoints_as_asked(
    tiny: ModuleType, tmp_path: Path
) -> None:
    kept = []

    class Counting(tiny.Watcher):  # type: ignore[misc, name-defined]
        def on_message(self, text: str) -> None:
            if text.startswith("saved"):
                kept.append(len(checkpoint.steps(tmp_path / "run" / "checkpoints")))

    run(tiny.plan(keep=3), out=tmp_path / "run", resume=False, progress=Counting())
    assert kept == [1, 2, *[3] * 10]


@pytest.mark.parametrize("after", [3, 6, 8])
def test_interrupted_and_resumed_is_uninterrupted(
    tiny: ModuleType, tmp_path: Path, uninterrupted: Path, after: int
) -> None:
    interrupt(tiny, tmp_path / "parts", after=after)
    watcher = tiny.train(tmp_path / "parts", resume=True, checkpoint_minutes=60.0)
    assert [info.run_step for info in watcher.steps] == list(range(after + 1, 13))
    assert tiny.weights(tmp_path / "parts") == tiny.weights(uninterrupted)


def test_interrupted_twice(tiny: ModuleType, tmp_path: Path, uninterrupted: Path) -> None:
    interrupt(tiny, tmp_path / "parts", after=2)
    interrupt(tiny, tmp_path / "parts", after=9, resume=True)
    tiny.train(tmp_path / "parts", resume=True)
    assert tiny.weights(tmp_path / "parts") == tiny.weights(uninterrupted)


def test_resume_before_the_first_checkpoint_starts_again(
    tiny: ModuleType, tmp_path: Path, uninterrupted: Path
) -> None:
    out = tmp_path / "parts"
    interrupt(tiny, out, after=2)
    checkpoint.prune(out / "checkpoints", keep=0)
    watcher = tiny.train(out, resume=True)
    assert "no checkpoint yet" in watcher.messages[0]
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 12
    assert tiny.weights(out) == tiny.weights(uninterrupted)


def test_resuming_a_finished_run_changes_nothing(tiny: ModuleType, tmp_path: Path) -> None:
    tiny.train(tmp_path / "run")
    before = tiny.weights(tmp_path / "run")
    metrics = (tmp_path / "run" / "metrics.jsonl").read_text()
    assert tiny.train(tmp_path / "run", resume=True).steps == []
    assert tiny.weights(tmp_path / "run") == before
    assert (tmp_path / "run" / "metrics.jsonl").read_text() == metrics


def test_model_is_written_by_a_resume_that_has_only_that_left(
    tiny: ModuleType, tmp_path: Path
) -> None:
    tiny.train(tmp_path / "run")
    before = tiny.weights(tmp_path / "run")
    (tmp_path / "run" / "model").rename(tmp_path / "moved")
    tiny.train(tmp_path / "run", resume=True)
    assert tiny.weights(tmp_path / "run") == before


@pytest.mark.parametrize("file", ["model.safetensors", "optimiser.safetensors", "state.json"])
def test_damaged_newest_falls_back_to_the_one_before(
    tiny: ModuleType, tmp_path: Path, uninterrupted: Path, file: str
) -> None:
    out = tmp_path / "parts"
    interrupt(tiny, out, after=3)
    interrupt(tiny, out, after=5, resume=True)
    damaged = out / "checkpoints" / "step-00000005" / file
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    watcher = tiny.train(out, resume=True)
    assert f"step-00000005 is damaged (the sha256 of {file}" in watcher.messages[0]
    assert watcher.steps[0].run_step == 4
    assert tiny.weights(out) == tiny.weights(uninterrupted)


def test_all_damaged_is_an_error(tiny: ModuleType, tmp_path: Path) -> None:
    interrupt(tiny, tmp_path / "run", after=3)
    (tmp_path / "run" / "checkpoints" / "step-00000003" / "state.json").unlink()
    with pytest.raises(CheckpointError, match="all 1 checkpoints"):
        tiny.train(tmp_path / "run", resume=True)


def test_a_used_folder_is_refused(tiny: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("dear")
    with pytest.raises(RunFolderError, match="resume its run"):
        tiny.train(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_nothing_to_resume(tiny: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="no run to resume"):
        tiny.train(tmp_path / "run", resume=True)
    assert not (tmp_path / "run").exists()


def test_a_folder_in_use_is_refused(tiny: ModuleType, tmp_path: Path) -> None:
    with (
        locked(tmp_path / "run", tell=print),
        pytest.raises(RunFolderError, match="another process"),
    ):
        tiny.train(tmp_path / "run")


def test_changed_recipe_names_the_key(tiny: ModuleType, tmp_path: Path) -> None:
    interrupt(tiny, tmp_path / "run", after=2)
    plan = tiny.plan()
    plan = replace(plan, identity={**plan.identity, "stage.0.lr": "0.02"})
    with pytest.raises(CheckpointError, match=r"stage\.0\.lr was 0\.01 .* 0\.02 now"):
        run(plan, out=tmp_path / "run", resume=True, progress=tiny.Watcher())


def test_changed_teacher_is_refused(tiny: ModuleType, tmp_path: Path) -> None:
    interrupt(tiny, tmp_path / "run", after=2)
    plan = tiny.plan()
    with torch.no_grad():
        plan.student.embedding.weight[3, 3] += 1e-3
    with pytest.raises(CheckpointError, match="the teacher has changed"):
        run(plan, out=tmp_path / "run", resume=True, progress=tiny.Watcher())


def test_another_thread_count_warns(
    tiny: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(torch, "get_num_threads", lambda: 7)
        interrupt(tiny, tmp_path / "run", after=10)
    watcher = tiny.train(tmp_path / "run", resume=True)
    assert any("threads was 7 and is 1" in text for text in watcher.messages)


def test_the_thread_setting_is_applied(tiny: ModuleType, tmp_path: Path) -> None:
    torch.set_num_threads(2)
    tiny.train(tmp_path / "run", threads=1, steps=(1, 1))
    assert torch.get_num_threads() == 1


def test_bf16_trains(tiny: ModuleType, tmp_path: Path) -> None:
    watcher = tiny.train(tmp_path / "run", precision="bf16")
    exact = tiny.train(tmp_path / "fp32")
    losses = [info.loss for info in watcher.steps]
    assert losses != [info.loss for info in exact.steps]
    assert losses[0] == pytest.approx(exact.steps[0].loss, rel=0.05)


def test_gradient_checkpointing_gives_the_same_student(tiny: ModuleType, tmp_path: Path) -> None:
    plan = tiny.plan()
    plan.student.activation_checkpointing_enable({"use_reentrant": False})
    run(plan, out=tmp_path / "again", resume=False, progress=tiny.Watcher())
    tiny.train(tmp_path / "run")
    kept, recomputed = (
        load_file(tmp_path / name / "model" / "model.safetensors") for name in ("run", "again")
    )
    for name, tensor in kept.items():
        torch.testing.assert_close(recomputed[name], tensor)
