"""Precision that changes between stages, also when a run is resumed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from asnn_goose.model import GooseForCausalLM
from asnn_goose.model.parts.precision_table import PrecisionTable
from asnn_goose.train import starts
from asnn_goose.train.loop import run
from asnn_goose.train.plan import Starts
from asnn_goose.train.run_errors import TrainError
from asnn_goose.train.sharded_stage import check_sharded

TABLE = {"*": {"planes": 1}, "receptance": {"rotate": True, "steps": 3, "threshold": 4.0}}


def ladder(tiny: ModuleType) -> Any:
    plan = tiny.plan(accumulate=1, noise=False)
    first, second = plan.stages
    return replace(plan, stages=(first, replace(second, precision=PrecisionTable(TABLE))))


@pytest.fixture(scope="module")
def whole(tiny: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folder of the ladder, carried out at one go."""
    out = tmp_path_factory.mktemp("ladder") / "run"
    run(ladder(tiny), out=out, resume=False, progress=tiny.Watcher())
    return out


@pytest.mark.parametrize("at", [3, 7, 9])
def test_a_crash_changes_nothing(
    tiny: ModuleType, whole: Path, tmp_path: Path, crash: Callable[..., None], at: int
) -> None:
    crash(ladder(tiny), tmp_path / "broken", at=at)
    run(ladder(tiny), out=tmp_path / "broken", resume=True, progress=tiny.Watcher())
    assert tiny.weights(tmp_path / "broken") == tiny.weights(whole)


def test_the_student_is_saved_with_its_last_precision(whole: Path) -> None:
    student = GooseForCausalLM.from_pretrained(whole / "model")
    assert student.config.precision == TABLE
    module = student.get_submodule("blocks.1.mixer.receptance")
    assert module.neuron is not None
    assert len(module.weight.unique()) > 3  # what is kept are the latent weights
    codes = module.ternary(module.weight).sign().unique()
    assert torch.equal(codes, torch.tensor([-1.0, 0.0, 1.0]))


def calibrated(tiny: ModuleType, *, ternary: str = "absmean") -> Any:
    plan = tiny.plan(accumulate=1, noise=False)
    first, second = plan.stages
    table = {"*": {"planes": 1, "ternary": ternary}}
    return replace(
        plan,
        stages=(
            first,
            replace(second, precision=PrecisionTable(table), starts=Starts(calibrate=64)),
        ),
    )


def test_a_calibrated_start_is_made_once(
    tiny: ModuleType, tmp_path: Path, crash: Callable[..., None]
) -> None:
    """A run that crashes within the stage does not calibrate again, and ends the same."""
    whole, broken, watcher = tmp_path / "whole", tmp_path / "broken", tiny.Watcher()
    run(calibrated(tiny), out=whole, resume=False, progress=watcher)
    assert "calibrated 14 ternary matrices on 64 tokens" in watcher.messages
    crash(calibrated(tiny), broken, at=9)
    again = tiny.Watcher()
    run(calibrated(tiny), out=broken, resume=True, progress=again)
    assert not any(text.startswith("calibrated") for text in again.messages)
    files = [folder / "model" / "model.safetensors" for folder in (whole, broken)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_calibration_leaves_data_and_mode_as_they_were(tiny: ModuleType) -> None:
    whole = calibrated(tiny)
    plan = whole.stages[1]
    student, place = plan.stage.student, plan.loader.state()
    student.train().set_precision(plan.precision)
    before = student.blocks[0].mlp.up.weight.clone()
    starts.start(plan, accelerator=whole.accelerator, tell=lambda text: None)
    assert plan.loader.state() == place
    assert student.training
    assert not torch.equal(student.blocks[0].mlp.up.weight, before)


LEARNED = {"name": "learned", "per": "channel"}


@pytest.mark.parametrize(
    "change",
    [
        *({"starts": Starts(**{key: 64})} for key in ("balance", "calibrate", "least_squares")),
        {"precision": PrecisionTable({"down": {"sub_norm": True}})},
        {"precision": PrecisionTable({"*": {"steps": 1, "neuron": LEARNED}})},
    ],
)
def test_a_student_in_parts_is_refused(tiny: ModuleType, change: dict[str, Any]) -> None:
    """What a pass sets would be forgotten with the parts that were put together for it."""
    plan = replace(tiny.plan().stages[1], **change)
    with pytest.raises(TrainError, match=r"stage 'distill' has .+ and train\.shard = true"):
        check_sharded(plan)


def test_a_method_that_cannot_be_calibrated(tiny: ModuleType, tmp_path: Path) -> None:
    plan = calibrated(tiny, ternary="twn")
    with pytest.raises(TrainError, match=r"stage 'distill': calibrate: TWN of blocks\.0"):
        run(plan, out=tmp_path / "run", resume=False, progress=tiny.Watcher())


def test_outputs_are_fitted_before_the_first_step(tiny: ModuleType, tmp_path: Path) -> None:
    losses = []
    for name, tokens in (("plain", 0), ("fitted", 256)):
        plan = tiny.plan(accumulate=1, noise=False)
        first, second = plan.stages
        plan = replace(plan, stages=(replace(first, starts=Starts(least_squares=tokens)), second))
        watcher = tiny.Watcher()
        run(plan, out=tmp_path / name, resume=False, progress=watcher)
        losses.append(watcher.steps[0].loss)
    assert "fitted 2 output projections on 256 tokens" in watcher.messages
    assert losses[1] < 0.9 * losses[0]


def test_channels_are_balanced_before_the_precision_falls(tiny: ModuleType) -> None:
    divided = {}
    for strength in (0.5, 1.0):
        whole = tiny.plan(accumulate=1, noise=False)
        plan = replace(whole.stages[1], starts=Starts(balance=64, balance_strength=strength))
        norm, told = plan.stage.student.blocks[1].mlp_norm, list[str]()
        before = norm.weight.detach().clone()
        starts.start(plan, accelerator=whole.accelerator, tell=told.append)
        assert told[0].startswith("balanced the channels of")
        divided[strength] = (before / norm.weight.detach()).log()
        assert abs(float(divided[strength].mean())) < 1e-4  # a geometric mean of 1
        assert float(divided[strength].std()) > 1e-3
    assert not torch.allclose(divided[0.5], divided[1.0], atol=1e-3)
