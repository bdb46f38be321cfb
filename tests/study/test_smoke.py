"""What doctor --deep does, on one process and on two."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.train import jobs
from tests.train.crew import Crew

from asnn_goose.study import smoke
from asnn_goose.train.stages import STAGES


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASNN_GOOSE_CACHE", str(tmp_path))


def test_every_kind_of_stage_is_there() -> None:
    assert smoke.STAGES.keys() == STAGES.keys()
    assert smoke.BREAK % smoke.STEPS > 0


def test_it_is_broken_off_and_resumed() -> None:
    lines: list[str] = []
    assert smoke.smoke(lines.append) == len(STAGES) * smoke.STEPS
    assert [line.split(":")[0] for line in lines] == list(STAGES)


def test_two_processes_also_train_in_parts() -> None:
    crew = Crew(jobs.smoke_run)
    assert crew.codes() == [0, 0], crew.told
    parts = [f"{kind} in parts" for kind in smoke.IN_PARTS]
    steps = str((len(STAGES) + len(smoke.IN_PARTS)) * smoke.STEPS)
    said = [line.split(":")[0] for line in crew.told[0]]
    assert said == [*STAGES, *parts, steps]
    assert crew.told[1] == ["0"]  # only one speaks, and counts
