from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from asnn_goose.model import GooseConfig, GooseForCausalLM
from asnn_goose.study.heat_map import draw
from asnn_goose.study.sensitivity import sensitivity

ENTRY: dict[str, Any] = {"steps": 1, "threshold": 1.0}


@pytest.fixture
def student() -> GooseForCausalLM:
    torch.manual_seed(0)
    shape: dict[str, Any] = {"hidden_size": 64, "head_size": 16, "intermediate_size": 64}
    config = GooseConfig(
        vocab_size=40, num_hidden_layers=3, num_attention_heads=4, mlp="gated", **shape
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


def test_every_place_is_measured_alone(
    student: GooseForCausalLM, windows: list[tuple[Tensor, Tensor]]
) -> None:
    before = {name: p.clone() for name, p in student.named_parameters()}
    done: list[tuple[int, int]] = []
    found = sensitivity(
        student,
        windows,
        entry=ENTRY,
        names=("key", "down"),
        together=2,
        progress=lambda *at: done.append(at),
    )
    assert found.rows == ((0, 1), (2, 2))
    assert done[-1] == (1 + 4 + 2 + 1, 8)
    assert found.tokens == 32
    student.set_precision({"2.down": ENTRY})
    with torch.no_grad():
        logits = student(windows[0][0]).logits[0]
    alone = float(torch.nn.functional.cross_entropy(logits, windows[0][1][0]))
    assert found.cost[1][1] == pytest.approx(alone - found.base, abs=1e-5)
    assert found.whole > 0
    student.set_precision({})
    for name, parameter in student.named_parameters():
        assert torch.equal(parameter, before[name])


def test_own_precision_is_kept_and_comes_back(
    student: GooseForCausalLM, windows: list[tuple[Tensor, Tensor]]
) -> None:
    own = {"*": {"planes": 2}}
    student.set_precision(own)
    found = sensitivity(student, windows, entry=ENTRY, names=("v",))
    assert student.config.precision == own
    assert any(cost != 0 for row in found.cost for cost in row)


def test_what_cannot_be_is_refused(student: GooseForCausalLM) -> None:
    with pytest.raises(ValueError, match="together = 0"):
        sensitivity(student, [], entry=ENTRY, together=0)
    with pytest.raises(ValueError, match="nothing to score"):
        sensitivity(student, [], entry=ENTRY)
    assert student.config.precision == {}


def test_the_map_is_drawn(
    student: GooseForCausalLM, windows: list[tuple[Tensor, Tensor]], tmp_path: Path
) -> None:
    found = sensitivity(student, windows, entry=ENTRY, names=("key", "value"))
    draw(found, [tmp_path / "map.svg", tmp_path / "map.png"])
    assert "<svg" in (tmp_path / "map.svg").read_text()
    assert (tmp_path / "map.png").stat().st_size > 1000
