"""The campaign shrunk: a few kills, two at once, and a few faults of the system."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.campaign.blows import SIGNALS, TWICE
from tests.campaign.children import SETTINGS
from tests.campaign.shim import build, compiler
from tests.campaign.table import table
from tests.campaign.tree import differences, lost_steps

ROOT = Path(__file__).resolve().parents[2]
FAULTS = (
    "no space for a checkpoint",
    "no space in the cache",
    "read-only run folder",
)
"""Those that say most; `make campaign` has all."""


@pytest.mark.skipif(
    compiler() is None, reason="no C compiler: what lets calls fail cannot be built"
)
def test_kills_two_at_once_and_faults(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.campaign.little", *FAULTS],
        cwd=ROOT,
        env=os.environ | SETTINGS | {"LD_PRELOAD": str(build(tmp_path))},
        capture_output=True,
        text=True,
        check=False,
    )
    rows: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["name"] for row in rows] == [*SIGNALS, TWICE, *FAULTS], done.stderr
    assert {row["name"]: row["wrong"] for row in rows if row["wrong"]} == {}


def test_more_than_one_lost_step_is_found(tmp_path: Path) -> None:
    lines = "".join(json.dumps({"run_step": step}) + "\n" for step in (1, 2, 3))
    (tmp_path / "metrics.jsonl").write_text(lines + '{"run_st')
    (tmp_path / "checkpoints" / "step-00000002").mkdir(parents=True)
    assert lost_steps(tmp_path) == []
    (tmp_path / "checkpoints" / "step-00000002").rename(tmp_path / "checkpoints/step-00000001")
    assert lost_steps(tmp_path) == ["of 3 steps 1 are in a checkpoint"]


def test_what_is_stale_missing_or_different_is_found() -> None:
    wanted, found = {"a": "1", "b": "2", "c": "3"}, {"b": "2", "c": "4", "d": "5"}
    assert differences(wanted, found) == ["left behind: d", "missing: a", "differs: c"]


def test_a_log_is_a_table() -> None:
    rows = [
        "0\t0\talign\tKILL\t9%\twrite /run/x\t7200.0\t4.6\tsound",
        "1\t0\talign\tKILL\t9%\twrite /run/x\t1.0\t4.6\tleft behind: x",
        "2\t0\teval\tEIO\t1%\tnothing\t1.0\t0.4\tsound",
    ]
    lines = list(table(rows))
    assert lines[:4] == [
        "| command | EIO | KILL | sound |",
        "|---|---|---|---|",
        "| align |  | 2 | 1 of 2 |",
        "| eval | 1 |  | 1 of 1 |",
    ]
    assert lines[4:] == [
        "\n2 of 3 sound, of 1000 wanted; 0.00 hours of a processor",
        "- 1 of seed 0: align, KILL at 9% (write /run/x): left behind: x",
    ]
