from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch

from asnn_goose.losses.features import Projection, at_positions, choose_layer, counted, depth
from asnn_goose.trace import Batch, Trace


def test_rows_that_count_in_fp32(passing: Callable[[int], Trace], batch: Batch) -> None:
    h_BTD = passing(1).hidden[0].detach().bfloat16()
    rows_nD = counted(h_BTD, batch.mask_BT)
    assert rows_nD.dtype == torch.float32
    assert torch.equal(rows_nD, h_BTD[batch.mask_BT].float())
    assert counted(h_BTD, torch.ones_like(batch.mask_BT)).shape == (22, 8)


def test_a_projection_starts_as_the_identity() -> None:
    x, y = torch.randn(5, 4), torch.randn(5, 6)
    same = Projection(student_width=4, teacher_width=4, project=True)
    wider = Projection(student_width=4, teacher_width=6)
    assert torch.equal(same(x, x), x)
    assert torch.equal(wider(x, y), torch.cat([x, torch.zeros(5, 2)], dim=1))
    assert [tuple(p.shape) for p in wider.parameters()] == [(6, 4)]


def test_equal_or_absent_widths_need_no_projection() -> None:
    x = torch.randn(5, 4)
    for widths in (0, 4):
        projection = Projection(student_width=widths, teacher_width=widths)
        assert not list(projection.parameters())
        assert projection(x, x) is x


def test_a_projection_is_linear_in_fp32_under_autocast() -> None:
    projection = Projection(student_width=4, teacher_width=6)
    with torch.no_grad():
        projection.weight.normal_()  # type: ignore[union-attr]
    x, y = torch.randn(5, 4), torch.randn(5, 6)
    with torch.autocast("cpu", torch.bfloat16):
        found = projection(x, y)
    assert torch.equal(found, projection(x, y))
    assert torch.allclose(projection(2 * x, y), 2 * found, rtol=1e-5)


def test_widths_that_do_not_fit_are_named() -> None:
    x, y = torch.randn(5, 4), torch.randn(5, 6)
    with pytest.raises(ValueError, match="need student_width = 4, teacher_width = 6"):
        Projection(student_width=0, teacher_width=0)(x, y)
    with pytest.raises(ValueError, match=r"student_width = 8.*need student_width = 4"):
        Projection(student_width=8, teacher_width=6)(x, y)
    with pytest.raises(ValueError, match="student_width = 8, teacher_width = 8"):
        Projection(student_width=8, teacher_width=8)(x, x)
    with pytest.raises(ValueError, match="give both widths"):
        Projection(student_width=8, teacher_width=0)
    with pytest.raises(ValueError, match="project = true"):
        Projection(student_width=0, teacher_width=0, project=True)


def test_layers_and_positions(passing: Callable[[int], Trace]) -> None:
    trace = passing(1)
    assert choose_layer(trace.keys, -1, setting="layer") is trace.keys[2]
    with pytest.raises(ValueError, match="teacher_layer = 3: the Trace holds 3 blocks"):
        choose_layer(trace.keys, 3, setting="teacher_layer")
    assert torch.equal(at_positions(trace.keys[0], 0.0), trace.keys[0])
    assert not torch.equal(at_positions(trace.keys[0], 10.0), trace.keys[0])


def test_missing_hidden_states_are_named(passing: Callable[[int], Trace]) -> None:
    assert depth(passing(1), whose="student") == 3
    with pytest.raises(ValueError, match=r"teacher's Trace has no hidden states"):
        depth(dataclasses.replace(passing(1), hidden=()), whose="teacher")
