from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from asnn_goose.model import GooseForCausalLM
from asnn_goose.study.heat_map import draw
from asnn_goose.study.sensitivity import sensitivity

ENTRY: dict[str, Any] = {"steps": 1, "threshold": 1.0}


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
