"""Several processes train what one does on the same batches, whole or in parts, and end as one."""

from __future__ import annotations

import signal
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.train import jobs
from tests.train.crew import Crew

from asnn_goose.losses import LOSSES, VOCAB_LOSSES
from asnn_goose.train import checkpoint
from asnn_goose.train.loop import run

STOPPED = 128 + signal.SIGTERM
EPS = 1e-2
"""Of Adam: with a small one it takes full steps where a gradient is nothing but rounding."""


@pytest.fixture(scope="module")
def alone(tiny: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one process that adds up two micro-batches; every checkpoint stays."""
    out = tmp_path_factory.mktemp("alone") / "run"
    plan = tiny.plan(accumulate=2, noise=False, keep=99, eps=EPS)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(checkpoint, "prune", lambda folder, *, keep: None)
        run(plan, out=out, resume=False, progress=tiny.Watcher())
    return out


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "model" / "model.safetensors")


def assert_alike(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Within rounding: what is added up in another order."""
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert jobs.relative(found[name], tensor) <= 1e-5, name


@pytest.mark.parametrize("shard", [False, True])
def test_two_stop_together_and_equal_one(alone: Path, tmp_path: Path, shard: bool) -> None:
    out, options = tmp_path / "two", {"shard": shard, "eps": EPS}
    crew = Crew(jobs.train_tiny, out, False, options)
    crew.wait_for("step 3")
    crew.members[1].terminate()
    assert crew.codes() == [STOPPED] * 2, crew.told
    newest = checkpoint.newest(out / "checkpoints", tell=print)
    assert newest is not None
    # Read by this one process, whoever wrote it.
    found, wanted = (checkpoint.read(alone / "checkpoints" / newest.name), checkpoint.read(newest))
    assert found.state["position"]["step"] == wanted.state["position"]["step"]
    assert_alike(found.model, wanted.model)
    moments = ({k: x for k, x in s.optimiser.items() if "exp_avg" in k} for s in (found, wanted))
    assert_alike(*moments)
    crew = Crew(jobs.train_tiny, out, True, options)
    assert crew.codes() == [0, 0], crew.told
    assert_alike(weights(out), weights(alone))


FOUR: dict[str, Any] = {"steps": (2, 2), "checkpoint_minutes": 60.0, "eps": EPS}
"""Options of runs whose steps have four micro-batches."""


@pytest.fixture(scope="module")
def four_alone(tiny: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("four") / "run"
    plan = tiny.plan(accumulate=4, noise=False, **FOUR)
    run(plan, out=out, resume=False, progress=tiny.Watcher())
    return out


@pytest.mark.parametrize(
    ("size", "options"),
    [
        (4, {"shard": False}),
        (4, {"shard": True}),
        (2, {"shard": True, "accumulate": 2, "again": True}),
    ],
)
def test_four_micro_batches_anywhere_are_one_step(
    four_alone: Path, tmp_path: Path, size: int, options: dict[str, Any]
) -> None:
    crew = Crew(jobs.train_tiny, tmp_path / "run", False, {**FOUR, **options}, size=size)
    assert crew.codes() == [0] * size, crew.told
    assert_alike(weights(tmp_path / "run"), weights(four_alone))


@pytest.mark.parametrize("shard", [False, True])
def test_a_killed_one_ends_all(tmp_path: Path, shard: bool) -> None:
    crew = Crew(jobs.train_tiny, tmp_path / "run", False, {"shard": shard}, size=3)
    crew.wait_for("step 3")
    crew.members[1].kill()
    assert crew.codes(seconds=60) == [2, -signal.SIGKILL, 2], crew.told
    for told in (crew.told[0], crew.told[2]):
        assert "another process of this run has ended; resume it from" in told[-1]
    newest = checkpoint.newest(tmp_path / "run" / "checkpoints", tell=print)
    assert newest is not None
    assert newest.name in crew.told[0][-1]


@pytest.mark.parametrize("loss", ["matrix_orientation", "minilm"])
def test_a_loss_need_not_reach_every_parameter(tmp_path: Path, loss: str) -> None:
    """The output projections under a loss on r, k and v alone; gates and head under features."""
    options = {"align": loss, "feature": True, "steps": (2, 2), "checkpoint_minutes": 60.0}
    crew = Crew(jobs.train_tiny, tmp_path / "run", False, options)
    assert crew.codes() == [0, 0], crew.told


def test_what_is_measured_is_the_first_process_that_is_not_silent() -> None:
    crew = Crew(jobs.first_measured)
    assert crew.codes() == [0, 0]
    told = "True [(2.0, False), (1.0, False), (1.0, True)]"
    assert crew.told == [[told, "False"]] * 2


def test_every_loss_keeps_the_processes_alike() -> None:
    crew = Crew(jobs.every_loss)
    assert crew.codes() == [0, 0]
    assert crew.told == [sorted(LOSSES | VOCAB_LOSSES)] * 2
