from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asnn_goose.train.metrics import MetricsLog
from asnn_goose.train.progress import StepInfo

INFO = StepInfo(
    stage="align",
    stage_index=0,
    stages=2,
    step=1,
    steps=9,
    run_step=1,
    tokens_seen=64,
    tokens_total=640,
    loss=0.5,
    terms={"a": 0.5},
    lr=0.1,
    grad_norm=1.0,
    tokens_per_s=10.0,
    eta_s=57.6,
    memory_bytes=1,
    seconds=6.4,
)


def filled(path: Path, steps: int) -> MetricsLog:
    log = MetricsLog(path / "metrics.jsonl")
    for step in range(1, steps + 1):
        assert log.append(replace(INFO, run_step=step)) is None
    return log


def numbers(path: Path) -> list[int]:
    lines = (path / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["run_step"] for line in lines]


def test_one_line_a_step(tmp_path: Path) -> None:
    filled(tmp_path, 3)
    first = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[0])
    assert first["stage"] == "align"
    assert first["terms"] == {"a": 0.5}
    assert numbers(tmp_path) == [1, 2, 3]


@pytest.mark.parametrize(
    "line", ['{"run_step": 3, "stage": "al', '{"run_step": 1e400}', "[" * 100_000, "[1]", "{}"]
)
def test_lines_past_the_checkpoint_and_a_cut_one_are_dropped(tmp_path: Path, line: str) -> None:
    log = filled(tmp_path, 5)
    with log.path.open("a") as file:
        file.write(line)
    log.drop_after(3)
    assert numbers(tmp_path) == [1, 2, 3]
    assert log.append(replace(INFO, run_step=4)) is None
    assert numbers(tmp_path) == [1, 2, 3, 4]


def test_lines_wait_while_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = filled(tmp_path, 2)

    class Full:
        """A file on a disk with room for ten more bytes."""

        def __init__(self, path: Path) -> None:
            self.file = open(path, "ab", buffering=0)  # noqa: SIM115 - closed in __exit__

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *error: Any) -> None:
            self.file.close()

        def write(self, content: bytes) -> int:
            return self.file.write(content[:10])

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda self, *mode, **options: Full(self))
        for step in (3, 4):
            trouble = log.append(replace(INFO, run_step=step))
            assert trouble is not None
            assert "No space left" in trouble
    assert numbers(tmp_path) == [1, 2]
    assert log.append(replace(INFO, run_step=5)) is None
    assert numbers(tmp_path) == [1, 2, 3, 4, 5]
