from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from asnn_goose.model import GooseForCausalLM
from asnn_goose.model.goose.kept import STREAM
from asnn_goose.model.starts.calibrate import calibrate
from asnn_goose.trace import Trace

Fresh = Callable[..., GooseForCausalLM]


@pytest.fixture
def stream(fresh: Fresh, tokens_BT: Tensor) -> Trace:
    """What the dense student leaves behind."""
    with torch.no_grad():
        return fresh(mlp="gated", intermediate_size=128).trace(tokens_BT, STREAM)


@torch.no_grad()
def miss(student: GooseForCausalLM, stream: Trace, fresh: Fresh) -> float:
    """How far all blocks are from the dense ones, on the dense ones' stream."""
    wanted, found = (
        model.eval().drive_blocks(stream.hidden, stream.mixer_out)
        for model in (fresh(mlp="gated", intermediate_size=128), student)
    )
    pairs = zip(wanted.mlp_out + wanted.mixer_out, found.mlp_out + found.mixer_out, strict=True)
    return sum(float((a - b).square().mean() / a.square().mean()) for a, b in pairs)


@pytest.mark.parametrize(
    "table",
    [
        {"planes": 1},
        {"planes": 1, "rotate": True, "steps": 3, "threshold": 4.0},
        {"planes": 1, "ternary": "terdit"},
    ],
)
def test_outputs_come_nearer(fresh: Fresh, stream: Trace, table: dict[str, Any]) -> None:
    rounded, calibrated = (fresh(mlp="gated", intermediate_size=128) for _ in range(2))
    for student in (rounded, calibrated):
        student.set_precision({"*": table})
    assert calibrate(calibrated, [stream]) == 3 * 7
    assert miss(calibrated, stream, fresh) < 0.8 * miss(rounded, stream, fresh)


def test_dense_matrices_stay(fresh: Fresh, stream: Trace) -> None:
    student = fresh(mlp="gated", intermediate_size=128, precision={"down": {"planes": 1}})
    before = student.blocks[1].mlp.up.weight.clone()
    assert calibrate(student, [stream]) == 3
    assert torch.equal(student.blocks[1].mlp.up.weight, before)
    assert student.blocks[1].mlp.down.ternary is not None


def test_more_traces_are_one_long_one(fresh: Fresh, stream: Trace) -> None:
    once, twice = (
        fresh(mlp="gated", intermediate_size=128, precision={"*": {"planes": 1}}) for _ in range(2)
    )
    calibrate(once, [stream])
    calibrate(twice, [stream, stream])
    for a, b in zip(once.parameters(), twice.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"planes": 2}, r"receptance has planes = 2"),
        ({"planes": 1, "group": 64}, r"planes = 1, group = 64"),
        ({"planes": 1, "ternary": "twn"}, r"TWN .* has another threshold"),
    ],
)
def test_what_it_does_not_know(
    fresh: Fresh, stream: Trace, table: dict[str, Any], words: str
) -> None:
    student = fresh(mlp="gated", intermediate_size=128, precision={"*": table})
    with pytest.raises(ValueError, match=words):
        calibrate(student, [stream])
