from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch

from asnn_goose.losses.features import (
    Projector,
    at_positions,
    choose_layer,
    counted,
    depth,
    documents_of,
)
from asnn_goose.trace import Batch, Rotation, Trace, Window


def test_rows_that_count_in_fp32(passing: Callable[[int], Trace], batch: Batch) -> None:
    h_BTD = passing(1).hidden[0].detach().bfloat16()
    rows_nD = counted(h_BTD, batch.mask_BT)
    assert rows_nD.dtype == torch.float32
    assert torch.equal(rows_nD, h_BTD[batch.mask_BT].float())
    assert counted(h_BTD, torch.ones_like(batch.mask_BT)).shape == (22, 8)


def projection(student: int, teacher: int, *, project: bool = False) -> Projector:
    found = Projector(project=project)
    found.meet(Trace(width=student), Trace(width=teacher))
    return found


def test_a_projection_starts_as_the_identity() -> None:
    x, y = torch.randn(5, 4), torch.randn(5, 6)
    wider = projection(4, 6)
    assert torch.equal(projection(4, 4, project=True)(x, x), x)
    assert torch.equal(wider(x, y), torch.cat([x, torch.zeros(5, 2)], dim=1))
    assert [tuple(p.shape) for p in wider.parameters()] == [(6, 4)]


def test_equal_widths_need_no_projection() -> None:
    x = torch.randn(5, 4)
    for found in (Projector(), projection(4, 4)):
        assert not list(found.parameters())
        assert found(x, x) is x


def test_a_projection_is_linear_in_fp32_under_autocast() -> None:
    bridge = projection(4, 6)
    with torch.no_grad():
        bridge.weight.normal_()  # type: ignore[union-attr]
    x, y = torch.randn(5, 4), torch.randn(5, 6)
    with torch.autocast("cpu", torch.bfloat16):
        found = bridge(x, y)
    assert torch.equal(found, bridge(x, y))
    assert torch.allclose(bridge(2 * x, y), 2 * found, rtol=1e-5)


def test_widths_that_do_not_fit_are_named() -> None:
    x, y = torch.randn(5, 4), torch.randn(5, 6)
    with pytest.raises(ValueError, match=r"4 and 6 channels: .* has not met both models"):
        Projector()(x, y)
    with pytest.raises(ValueError, match="has not met both models"):
        Projector(project=True)(x, x)
    with pytest.raises(ValueError, match="4 and 6 channels: the projection was made for 8 and 6"):
        projection(8, 6)(x, y)


def test_passes_over_different_windows_are_not_compared(passing: Callable[[int], Trace]) -> None:
    documents_BT = torch.zeros(2, 11).long()
    apart = dataclasses.replace(passing(1), window=Window(documents_BT=documents_BT))
    assert documents_of(apart, apart) is documents_BT
    assert documents_of(passing(1), passing(2)) is None
    with pytest.raises(ValueError, match="only the student's pass kept documents apart"):
        documents_of(apart, passing(1))


def test_layers_and_positions(passing: Callable[[int], Trace]) -> None:
    trace = passing(1)
    assert choose_layer(trace.signals["keys"], -1, setting="layer") is trace.signals["keys"][2]
    with pytest.raises(ValueError, match="teacher_layer = 3: the Trace holds 3 blocks"):
        choose_layer(trace.signals["keys"], 3, setting="teacher_layer")
    assert torch.equal(
        at_positions(trace.signals["keys"][0], Rotation(theta=0.0)), trace.signals["keys"][0]
    )
    assert not torch.equal(
        at_positions(trace.signals["keys"][0], Rotation(theta=10.0)), trace.signals["keys"][0]
    )


def test_missing_hidden_states_are_named(passing: Callable[[int], Trace]) -> None:
    assert depth(passing(1), whose="student") == 3
    with pytest.raises(ValueError, match=r"teacher's Trace has no hidden states"):
        depth(dataclasses.replace(passing(1), hidden=()), whose="teacher")
