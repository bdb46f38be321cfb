"""A grid of three cells, a process that trains nothing, and a small student."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from asnn_goose.model import GooseConfig, GooseForCausalLM

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
def student(request: pytest.FixtureRequest) -> GooseForCausalLM:
    """A student whose every part speaks; a module may say its INTERMEDIATE size."""
    torch.manual_seed(0)
    config = GooseConfig(
        vocab_size=40,
        hidden_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        head_size=16,
        intermediate_size=getattr(request.module, "INTERMEDIATE", 64),
        mlp="gated",
    )
    model = GooseForCausalLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@pytest.fixture
def windows(student: GooseForCausalLM) -> list[tuple[Tensor, Tensor]]:
    """Text that the student itself finds likely, so that every change costs."""
    tokens = torch.randint(0, 40, (1, 33), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        likely = student(tokens[:, :-1]).logits.argmax(-1)
    return [(tokens[:, :-1], likely)]


@pytest.fixture
def fake_cell() -> tuple[str, ...]:
    return (sys.executable, str(Path(__file__).with_name("fake_cell.py")))


@pytest.fixture
def grid_file(tmp_path: Path) -> Path:
    (tmp_path / "base.toml").write_text(BASE)
    file = tmp_path / "grid.toml"
    file.write_text(GRID)
    return file
