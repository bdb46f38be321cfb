"""A run that is killed and resumed ends with the weights of one that was not, bit for bit."""

from __future__ import annotations

import json
import random
import signal
from pathlib import Path

import pytest
from tests.train.forked import Forked

STEPS = 12


def stop_after(process: Forked, step: int, number: int) -> None:
    """Send a signal as soon as the process reports a step."""
    for line in process.stdout:
        if line.strip() == f"step {step}":
            process.send_signal(number)
            return
    raise AssertionError(f"the run ended before step {step}: {process.ended()[2]}")


def weights(out: Path) -> bytes:
    return (out / "model" / "model.safetensors").read_bytes()


def losses(out: Path) -> list[tuple[int, float]]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [(line["run_step"], line["loss"]) for line in lines]


def finish(out: Path) -> str:
    code, told, errors = Forked(str(out), "--resume").ended()
    assert code == 0, errors
    return told


@pytest.mark.parametrize("part", [(1, 5), (6, 11)], ids=["align", "distill"])
def test_kill_at_a_random_step(uninterrupted: Path, tmp_path: Path, part: tuple[int, int]) -> None:
    step = random.SystemRandom().randint(*part)
    print(f"killed after step {step}")
    process = Forked(str(tmp_path / "run"))
    stop_after(process, step, signal.SIGKILL)
    assert process.wait(timeout=60) == -signal.SIGKILL
    assert not (tmp_path / "run" / "model").exists()

    finish(tmp_path / "run")

    assert weights(tmp_path / "run") == weights(uninterrupted)
    assert losses(tmp_path / "run") == losses(uninterrupted)
    assert len(losses(uninterrupted)) == STEPS


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_saves_and_says_so(
    uninterrupted: Path, tmp_path: Path, number: signal.Signals
) -> None:
    out = tmp_path / "run"
    process = Forked(str(out))
    stop_after(process, 4, number)
    code, told, errors = process.ended(timeout=60)
    assert code == 128 + number, errors
    assert f"{number.name}: a checkpoint will be written" in told
    assert f"stopped by {number.name}" in errors
    assert "resume it to go on" in errors

    saved = sorted((out / "checkpoints").iterdir())[-1]
    assert f"resumed from {saved}" in finish(out)
    assert weights(out) == weights(uninterrupted)
