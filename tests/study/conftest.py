"""A grid of three cells, and a process that trains nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

GRID = """
name = "grid"
base = "base.toml"
seeds = [0, 1]

[eval]
on = ["validation", "austen"]
tokens = "1k"
window = 64

[[cell]]
name = "fast"
set = ["stage.0.lr=0.3"]

[[cell]]
name = "control"

[[cell]]
name = "slow"
set = ["stage.0.lr=0.1"]
"""

BASE = """
name = "base"
teacher = [{ model = "somewhere" }]

[[stage]]
kind = "distill"
train = "all"
tokens = "1k"
window = 8
batch = 2
lr = 0.2
losses = [{ name = "kl" }]
"""


@pytest.fixture
def fake_cell() -> tuple[str, ...]:
    return (sys.executable, str(Path(__file__).with_name("fake_cell.py")))


@pytest.fixture
def grid_file(tmp_path: Path) -> Path:
    (tmp_path / "base.toml").write_text(BASE)
    file = tmp_path / "grid.toml"
    file.write_text(GRID)
    return file
