"""Scales learned block after block: what they change, what trains, and what is left at the end."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load

from asnn_goose.losses import LOSSES, Objective, Term
from asnn_goose.losses.distances import huber
from asnn_goose.model.goose.post_training import FIRST_CLIP, BlockFit, FittedBlock
from asnn_goose.model.neurons import GIF
from asnn_goose.model.parts.precision_table import PrecisionTable
from asnn_goose.trace import Batch
from asnn_goose.train.loop import run
from asnn_goose.train.stages import CalibrateBlocks
from asnn_goose.train.step_counts import StepCounts

HIDDEN = frozenset({"hidden"})


@pytest.fixture
def parts(tiny: ModuleType) -> Any:
    """A student of two blocks, its teacher, and a batch at the beginning of a stage."""
    plan = tiny.plan(noise=False)
    return plan.student, plan.stages[0].stage.teacher, plan.stages[0].loader.next(0.0)


def stage_of(student: Any, teacher: Any) -> CalibrateBlocks:
    objective = Objective([Term("block_output", 1.0, LOSSES["block_output"]())])
    stage = CalibrateBlocks(student=student, teacher=teacher, objective=objective)
    stage.introduce()
    return stage


def fits(stage: CalibrateBlocks) -> list[BlockFit]:
    return list(stage.objective.beside["blocks"])  # type: ignore[arg-type]


def at(batch: Batch, progress: float) -> Batch:
    return Batch(
        tokens_BT=batch.tokens_BT,
        labels_BT=batch.labels_BT,
        documents_BT=batch.documents_BT,
        progress=progress,
    )


def stream(student: Any, batch: Batch) -> Any:
    return student.trace(batch.tokens_BT, HIDDEN).hidden


@torch.no_grad()
def shift(stage: CalibrateBlocks, size: float) -> None:
    """Scales away from 1, each another."""
    generator = torch.Generator().manual_seed(0)
    for fit in fits(stage):
        for log_s in fit.log_s:
            log_s.add_(size * torch.randn(log_s.shape, generator=generator))


@torch.no_grad()
def test_balance_leaves_a_dense_block_as_it_was(parts: Any) -> None:
    student, teacher, batch = parts
    for name, factor in student.named_parameters():
        if name.endswith((".down", ".up")):  # low-rank factors, which start at 0
            factor.add_(0.1 * torch.randn(factor.shape))
    before, weights = stream(student, batch)[-1], student.blocks[0].mlp.down.weight.clone()
    stage = stage_of(student, teacher)
    shift(stage, 0.5)
    stage.finish()
    torch.testing.assert_close(stream(student, batch)[-1], before, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(student.blocks[0].mlp.down.weight, weights)


@pytest.mark.parametrize("rotate", [False, True])
@torch.no_grad()
def test_what_is_folded_is_what_was_trained(parts: Any, rotate: bool) -> None:
    """Codes and ternary weights included, in whatever basis."""
    student, teacher, batch = parts
    precision = {"planes": 1, "steps": 3, "threshold": 3.0, "rotate": rotate}
    student.set_precision({"*": precision, "down": {"rotate": False}})  # 96 columns
    stage = stage_of(student.eval(), teacher)
    shift(stage, 0.3)
    for fit in fits(stage):
        for clip in fit.clip:
            clip.fill_(0.5)
    trained = stage(at(batch, 1.0))["block_output"]
    stage.finish()
    wanted = teacher.trace(batch.tokens_BT, HIDDEN).hidden[-1]
    folded = huber(stream(student, batch)[-1].flatten(0, 1), wanted.flatten(0, 1))
    torch.testing.assert_close(folded, trained, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("progress", "trained"), [(0.0, 0), (0.49, 0), (0.5, 1), (1.0, 1)])
def test_one_block_learns_at_a_time_and_no_weight_does(
    parts: Any, progress: float, trained: int
) -> None:
    student, teacher, batch = parts
    student.set_precision({"*": {"planes": 1, "steps": 3, "threshold": 3.0}})
    stage = stage_of(student, teacher)
    student.requires_grad_(False)
    stage(at(batch, progress))["block_output"].backward()
    for number, fit in enumerate(fits(stage)):
        reached = [p.grad is not None and bool(p.grad.any()) for p in fit.log_s]
        assert reached == [number == trained] * len(fit.log_s)
        if number == trained:
            assert any(bool(p.grad.any()) for p in fit.clip if p.grad is not None)


def test_a_block_sees_what_those_before_have_learned(parts: Any) -> None:
    student, teacher, batch = parts
    student.set_precision({"*": {"planes": 1}})
    stage = stage_of(student, teacher)
    with torch.no_grad():
        before = float(stage(at(batch, 0.9))["block_output"])
        fits(stage)[0].clip[0].fill_(-1.0)
        assert float(stage(at(batch, 0.9))["block_output"]) != before


def test_scales_alone_bring_codes_of_few_bits_nearer(parts: Any) -> None:
    """To the student that it was before; a few large channels spoil every token's range."""
    student, _, batch = parts
    with torch.no_grad():
        for block in student.blocks:
            for norm in (block.mixer_norm, block.mlp_norm):
                norm.weight[:3].mul_(20)
    teacher = copy.deepcopy(student).eval()
    neuron = {"name": "gif", "bits": 3, "low": 0.75, "calibration": 4}
    student.set_precision({"*": {"steps": 2, "code": "rate", "neuron": neuron}})
    stage = stage_of(student.train(), teacher)
    student.requires_grad_(False)
    optimiser = torch.optim.AdamW(stage.objective.parameters(), lr=5e-2, weight_decay=0.0)
    counts = StepCounts(stage, Accelerator(mixed_precision="no"))
    for progress in (0.0, 0.9):
        found = []
        for _ in range(25):
            optimiser.zero_grad()
            loss = stage(at(batch, progress))["block_output"]
            loss.backward()
            optimiser.step()
            counts.add()
            counts.settle()
            found.append(float(loss.detach()))
        # The first one is of channels of which none was salient yet.
        assert min(found[-5:]) < 0.9 * found[1], found
    measured = [m for m in student.modules() if isinstance(m, GIF)]
    assert all(int(m.seen) >= 4 and bool(m.salient.any()) for m in measured)


@torch.no_grad()
def test_a_row_is_cut_at_its_share(parts: Any) -> None:
    student, _, _ = parts
    student.set_precision({"down": {"planes": 1}})
    block = student.blocks[0]
    fit = BlockFit(block)
    assert float(torch.tensor(FIRST_CLIP).sigmoid()) == pytest.approx(0.982, abs=1e-3)
    (clip,) = fit.clip
    clip.fill_(0.0)
    weight = block.mlp.down.weight.clone()
    cut = FittedBlock(block, fit).tensors()["mlp.down.weight"]
    most = 0.5 * weight.abs().amax(1, keepdim=True)
    torch.testing.assert_close(cut, weight.clamp(-most, most))


def test_what_would_not_follow_is_refused(parts: Any) -> None:
    student, teacher, _ = parts
    for precision, said in (
        ({"planes": 1, "ternary": "lsq"}, r"LSQ of mixer\.\w+ has learned scales"),
        ({"planes": 1, "sub_norm": True}, "has sub_norm, which would divide"),
    ):
        copied = copy.deepcopy(student)
        copied.set_precision({"*": precision})
        with pytest.raises(ValueError, match=f"calibrate_blocks: .*{said}|{said}"):
            stage_of(copied, teacher)


class StoppedError(Exception):
    """What breaks a run off here."""


def carried_out(tiny: ModuleType, out: Path, *, resume: bool = False, until: int = 0) -> bytes:
    """A run of one stage on a ternary student with gif neurons, broken off after a step."""
    plan = tiny.plan(noise=False)
    stage = stage_of(plan.student, plan.stages[0].stage.teacher)
    stage.objective.beside.clear()  # the run introduces it itself
    entry = {"planes": 2, "steps": 2, "code": "rate", "neuron": {"name": "gif", "low": 0.5}}
    one = tiny.stage_plan(
        stage, name="fit", train="scales", steps=6, window=16, accumulate=2,
        accelerator=plan.accelerator,
    )  # fmt: skip
    one = replace(one, precision=PrecisionTable({"*": entry}))
    watcher = tiny.Watcher()
    if until:

        def stop(step: Any) -> None:
            if step.run_step == until:
                raise StoppedError

        watcher.on_step = stop
    run(replace(plan, stages=(one,)), out=out, resume=resume, progress=watcher)
    return (out / "model" / "model.safetensors").read_bytes()


def test_a_run_goes_on_where_it_was_broken_off(tiny: ModuleType, tmp_path: Path) -> None:
    """To the bit, its fits included; and the student that it leaves holds none of them."""
    whole = carried_out(tiny, tmp_path / "whole")
    for until in (2, 5):  # within either block's part
        out = tmp_path / str(until)
        with pytest.raises(StoppedError):
            carried_out(tiny, out, until=until)
        assert carried_out(tiny, out, resume=True) == whole
    kept = load(whole)
    assert not [name for name in kept if "clip" in name or "log_s" in name]
    plain = tiny.plan(noise=False).student.state_dict()
    assert not torch.equal(kept["blocks.1.mlp.down.weight"], plain["blocks.1.mlp.down.weight"])
