"""The campaign shrunk: a few kills and failing calls, and each fault of the system once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.campaign.shim import compiler
from tests.campaign.tree import differences

ROOT = Path(__file__).resolve().parents[2]
FAULTS = (
    "no space for a checkpoint",
    "no space in the cache",
    "read-only run folder",
    "a clock that jumps",
    "little memory",
)
"""Those that say most; `make campaign` has all."""


@pytest.fixture(autouse=True)
def _with_a_compiler() -> None:
    if compiler() is None:
        pytest.skip("no C compiler: what lets calls fail cannot be built")


def carried_out(module: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"tests.campaign.{module}", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_kills_and_failing_calls(tmp_path: Path) -> None:
    log = tmp_path / "log"
    short = ("--only", "two_stages", "teacher-write", "--log", str(log))
    done = carried_out("run", "--count", "8", "--seed", "3", *short)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [row.split("\t")[-1] for row in log.read_text().splitlines()] == ["sound"] * 8


def test_every_fault_is_met_with_a_word() -> None:
    done = carried_out("system_faults", "--only", *FAULTS)
    rows: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["name"] for row in rows] == list(FAULTS), done.stderr
    assert {row["name"]: row["wrong"] for row in rows if row["wrong"]} == {}


def test_what_is_stale_missing_or_different_is_found() -> None:
    wanted, found = {"a": "1", "b": "2", "c": "3"}, {"b": "2", "c": "4", "d": "5"}
    assert differences(wanted, found) == ["left behind: d", "missing: a", "differs: c"]
