"""Two processes train what one trains with twice the accumulation; a signal to one stops both."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file
from tests.campaign.inputs import write_inputs
from tests.train.every_stage import every_stage

from asnn_goose.losses import LOSSES, VOCAB_LOSSES
from asnn_goose.study.smoke import STAGES
from asnn_goose.train.loop import run

SCRIPT = Path(__file__).with_name("tiny_run.py")
ROOT = SCRIPT.parents[2]
ALIKE = sorted(STAGES.keys() - {"gkd"})
"""Kinds of stages that do the same on one process as on several; gkd draws its answers, each
process with numbers of its own."""


def launch(out: Path, *options: str) -> list[subprocess.Popen[str]]:
    return launched(SCRIPT, str(out), "--no-noise", "--accumulate=1", *options)


def launched(script: Path, *options: str) -> list[subprocess.Popen[str]]:
    return together([sys.executable, str(script), *options])


def together(command: list[str], *, count: int = 2) -> list[subprocess.Popen[str]]:
    """Processes that train together, as torchrun and accelerate launch start them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [
        subprocess.Popen(
            command,
            env={
                **os.environ,
                **shared,
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "ACCELERATE_USE_CPU": "1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for rank in range(count)
    ]


def codes(processes: list[subprocess.Popen[str]]) -> list[int]:
    for process in processes:
        process.communicate(timeout=120)
    return [process.returncode for process in processes]


def test_two_processes_stop_together_and_equal_one(tiny: ModuleType, tmp_path: Path) -> None:
    processes = launch(tmp_path / "two")
    assert processes[0].stdout is not None
    for line in processes[0].stdout:
        if line == "step 3\n":
            processes[1].send_signal(signal.SIGTERM)
            break
    assert codes(processes) == [128 + signal.SIGTERM] * 2
    assert codes(launch(tmp_path / "two", "--resume")) == [0, 0]

    alone = tiny.plan(accumulate=2, noise=False)
    run(alone, out=tmp_path / "one", resume=False, progress=tiny.Watcher())
    two, one = (load_file(tmp_path / n / "model" / "model.safetensors") for n in ("two", "one"))
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor)


@pytest.mark.parametrize("loss", ["matrix_orientation", "minilm"])
def test_a_loss_need_not_reach_every_parameter(tmp_path: Path, loss: str) -> None:
    """The output projections under a loss on r, k and v alone; gates and head under features."""
    processes = launch(tmp_path / "run", "--align", loss, "--feature", "--steps", "2")
    errors = [process.communicate(timeout=240)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors


def test_every_loss_keeps_the_processes_alike() -> None:
    """One start of both for the whole table: a start costs more than the steps."""
    processes = launched(SCRIPT.with_name("every_loss.py"))
    told = [process.communicate(timeout=280) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], told[0][1][-3000:]
    assert told[0][0].split() == sorted(LOSSES | VOCAB_LOSSES)


def test_every_kind_of_stage_does_on_two_processes_what_it_does_on_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two batches a step, one after the other or one a process; one start for all kinds."""
    monkeypatch.setenv("ASNN_GOOSE_CACHE", str(tmp_path / "cache"))
    write_inputs(tmp_path)
    every_stage(tmp_path, 2, ALIKE)
    command = [sys.executable, "-m", "tests.train.every_stage", str(tmp_path), "2", *ALIKE]
    processes = together(command)
    errors = [process.communicate(timeout=280)[1][-3000:] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    for kind in ALIKE:
        one, two = (
            load_file(tmp_path / f"{kind}-{count}" / "model" / "model.safetensors")
            for count in (1, 2)
        )
        for name, tensor in one.items():
            apart = (tensor - two[name]).norm() / tensor.norm().clamp_min(1e-3)
            assert apart < 1e-5, (kind, name, float(apart))


def test_a_killed_process_ends_the_others_with_a_word(tmp_path: Path) -> None:
    processes = launch(tmp_path / "run")
    assert processes[0].stdout is not None
    for line in processes[0].stdout:
        if line == "step 3\n":
            processes[1].kill()
            break
    began = time.monotonic()
    _, errors = processes[0].communicate(timeout=120)
    assert time.monotonic() - began < 60
    assert processes[0].returncode == 2, errors
    saved = sorted((tmp_path / "run" / "checkpoints").iterdir())[-1]
    assert f"another process of this run has ended; resume it from {saved}" in errors
    assert "Traceback" not in errors
