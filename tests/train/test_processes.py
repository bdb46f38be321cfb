"""Two processes train what one trains with twice the accumulation; a signal to one stops both."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file

from asnn_goose.losses import LOSSES, VOCAB_LOSSES
from asnn_goose.train.loop import run

SCRIPT = Path(__file__).with_name("tiny_run.py")


def launch(out: Path, *options: str) -> list[subprocess.Popen[str]]:
    return launched(SCRIPT, str(out), "--no-noise", "--accumulate=1", *options)


def launched(script: Path, *options: str) -> list[subprocess.Popen[str]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, str(script), *options]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [
        subprocess.Popen(
            command,
            env={
                **os.environ,
                **shared,
                "RANK": rank,
                "LOCAL_RANK": rank,
                "ACCELERATE_USE_CPU": "1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in "01"
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
