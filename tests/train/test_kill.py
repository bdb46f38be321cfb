"""A run that is killed and resumed ends with the weights of one that was not, bit for bit."""

from __future__ import annotations

import json
import random
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Start = Callable[..., "subprocess.Popen[str]"]
STEPS = 12


def stop_after(process: subprocess.Popen[str], step: int, number: int) -> None:
    """Send a signal as soon as the process reports a step."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == f"step {step}":
            process.send_signal(number)
            return
    raise AssertionError(f"the run ended before step {step}: {process.communicate()[1]}")


def weights(out: Path) -> bytes:
    return (out / "model" / "model.safetensors").read_bytes()


def losses(out: Path) -> list[tuple[int, float]]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [(line["run_step"], line["loss"]) for line in lines]


def finish(start: Start, out: Path) -> str:
    process = start(out, "--resume")
    told, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return told


@pytest.mark.parametrize("part", [(1, 5), (6, 11)], ids=["align", "distill"])
def test_kill_at_a_random_step(
    start: Start, uninterrupted: Path, tmp_path: Path, part: tuple[int, int]
) -> None:
    step = random.SystemRandom().randint(*part)
    print(f"killed after step {step}")
    process = start(tmp_path / "run")
    stop_after(process, step, signal.SIGKILL)
    assert process.wait(timeout=60) == -signal.SIGKILL
    assert not (tmp_path / "run" / "model").exists()

    finish(start, tmp_path / "run")

    assert weights(tmp_path / "run") == weights(uninterrupted)
    assert losses(tmp_path / "run") == losses(uninterrupted)
    assert len(losses(uninterrupted)) == STEPS


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_saves_and_says_so(
    start: Start, uninterrupted: Path, tmp_path: Path, number: signal.Signals
) -> None:
    out = tmp_path / "run"
    process = start(out)
    stop_after(process, 4, number)
    told, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert f"{number.name}: a checkpoint will be written" in told
    assert f"stopped by {number.name}" in errors
    assert "resume it to go on" in errors

    saved = sorted((out / "checkpoints").iterdir())[-1]
    assert f"resumed from {saved}" in finish(start, out)
    assert weights(out) == weights(uninterrupted)
