"""doctor --deep on one process and on two."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from asnn_goose.study import smoke
from asnn_goose.train.stages import STAGES

COMMAND = "import sys; sys.argv = ['x', 'doctor', '--deep']; from asnn_goose.cli import app; app()"
TRAINING = f"{'ok':8}{'training':18}"


def test_every_kind_of_stage_is_there() -> None:
    assert smoke.STAGES.keys() == STAGES.keys()
    assert smoke.BREAK % smoke.STEPS > 0


@pytest.mark.parametrize("processes", [1, 2])
def test_it_is_broken_off_and_resumed(processes: int, tmp_path: Path, free_port: str) -> None:
    shared = {
        "WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": free_port,
        "ACCELERATE_USE_CPU": "1",
        "OMP_NUM_THREADS": "1",
        "ASNN_GOOSE_CACHE": str(tmp_path),
    }
    ranks = [{"RANK": str(n), "LOCAL_RANK": str(n)} for n in range(processes)]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", COMMAND],
            env=os.environ | (shared | rank if processes > 1 else shared | {"WORLD_SIZE": "1"}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in ranks
    ]
    told = [process.communicate(timeout=280) for process in started]
    assert [process.returncode for process in started] == [0] * processes, [
        errors[-3000:] for _, errors in told
    ]
    lines = [line.removeprefix(TRAINING) for line in told[0][0].splitlines() if TRAINING in line]
    assert [line.split(":")[0] for line in lines[:-1]] == list(STAGES)
    steps = len(STAGES) * smoke.STEPS
    assert lines[-1] == f"{steps} steps, interrupted once and resumed"
    assert not any(output for output, _ in told[1:])
