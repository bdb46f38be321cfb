from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from asnn_goose.losses.hidden import Hidden
from asnn_goose.trace import IGNORED_LABEL, Batch, Trace

Passing = Callable[[int], Trace]

BY_HAND: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "relative": lambda s, t: ((s - t) ** 2).sum() / (t**2).sum(),
    "mse": lambda s, t: ((s - t) ** 2).mean(),
    "cosine": lambda s, t: (1 - F.cosine_similarity(s, t, dim=-1)).mean(),
    "normalised": lambda s, t: (
        (s / s.norm(dim=-1, keepdim=True) - t / t.norm(dim=-1, keepdim=True)) ** 2
    ).mean(),
    "layer_norm": lambda s, t: F.mse_loss(F.layer_norm(s, [8]), F.layer_norm(t, [8])),
}


def at(batch: Batch, progress: float) -> Batch:
    return dataclasses.replace(batch, progress=progress)


@pytest.mark.parametrize("distance", sorted(BY_HAND))
def test_values_and_gradients_of_every_distance(
    distance: str, passing: Passing, batch: Batch
) -> None:
    student, teacher = passing(1), passing(2)
    doubles = [h.detach().double().requires_grad_() for h in student.hidden]
    pairs = [
        (s[batch.mask_BT], t.detach()[batch.mask_BT].double())
        for s, t in zip(doubles[1:], teacher.hidden[1:], strict=True)
    ]
    wanted = torch.stack([BY_HAND[distance](s, t) for s, t in pairs]).mean()
    found = Hidden(distance=distance)(student, teacher, batch)
    assert found.item() == pytest.approx(wanted.item(), rel=1e-5)
    got = torch.autograd.grad(found, student.hidden[1:])
    want = torch.autograd.grad(wanted, doubles[1:])
    for g, w in zip(got, want, strict=True):
        assert torch.allclose(g.double(), w, rtol=1e-4, atol=1e-7)


def test_the_map_chooses_the_layers(passing: Passing, batch: Batch) -> None:
    student, teacher = passing(1), passing(2)
    loss = Hidden(layer_map=[[0, 3], [2, 1]], distance="mse")(student, teacher, batch)
    mask = batch.mask_BT
    pairs = [(student.hidden[0], teacher.hidden[3]), (student.hidden[2], teacher.hidden[1])]
    wanted = sum(F.mse_loss(s[mask], t[mask]).item() for s, t in pairs) / 2
    assert loss.item() == pytest.approx(wanted, rel=1e-5)


def test_the_embedding_can_be_added(passing: Passing, batch: Batch) -> None:
    student, teacher = passing(1), passing(2)
    for layer_map in ("uniform", "learned"):
        loss = Hidden(layer_map=layer_map, embedding=True)
        loss.meet(student, teacher)
        loss(student, teacher, batch).backward()
        assert student.hidden[0].grad is not None


def test_a_projection_bridges_widths_and_trains(passing: Passing, batch: Batch) -> None:
    student, teacher = passing(1), passing(2)
    wide = dataclasses.replace(
        teacher, hidden=tuple(h.repeat(1, 1, 2) for h in teacher.hidden), width=16
    )
    loss = Hidden(distance="mse")
    loss.meet(student, wide)
    loss(student, wide, batch).backward()
    (weight,) = loss.parameters()
    assert weight.grad is not None
    assert weight.grad.any()
    with pytest.raises(ValueError, match=r"8 and 16 channels: the projection .* has not met"):
        Hidden()(student, wide, batch)


def test_the_term_fades_after_its_share(passing: Passing, batch: Batch) -> None:
    student, teacher = passing(1), passing(2)
    whole = Hidden()(student, teacher, at(batch, 1.0)).item()
    loss = Hidden(until=0.2)
    strengths = [
        loss(student, teacher, at(batch, p)).item() / whole for p in (0.0, 0.2, 0.6, 0.9, 1.0)
    ]
    assert strengths == pytest.approx([1, 1, 0.5, 0.125, 0], abs=1e-6)


def test_a_learned_map_trains_its_gates_until_they_freeze(passing: Passing, batch: Batch) -> None:
    student, teacher = passing(1), passing(2)
    shallow = dataclasses.replace(student, hidden=student.hidden[:3])
    loss = Hidden(layer_map="learned", frozen_after=0.1)
    loss.meet(shallow, teacher)
    found = [
        torch.autograd.grad(loss(shallow, teacher, at(batch, p)), shallow.hidden[1:])
        for p in (0.05, 0.5)
    ]
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    for progress, trained in ((0.05, True), (0.5, False)):
        loss.zero_grad(set_to_none=True)
        loss(shallow, teacher, at(batch, progress)).backward()
        assert all((p.grad is not None) == trained for p in loss.parameters())


def test_a_batch_without_labels_costs_nothing(passing: Passing, batch: Batch) -> None:
    empty = dataclasses.replace(batch, labels_BT=torch.full_like(batch.labels_BT, IGNORED_LABEL))
    for distance in BY_HAND:
        assert Hidden(distance=distance)(passing(1), passing(2), empty).item() == 0


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ValueError, match="distance = 'l3': choose one of relative"):
        Hidden(distance="l3")
    with pytest.raises(ValueError, match=r"until = 1\.1"):
        Hidden(until=1.1)


def test_gates_stand_still_after_a_tenth_unless_set() -> None:
    for given, after in (({}, 0.1), ({"frozen_after": 0.4}, 0.4)):
        learned = Hidden(layer_map="learned", **given).learned
        assert learned is not None
        assert learned.frozen_after == after
    with pytest.raises(ValueError, match=r"frozen_after = 0\.4: only with layer_map = 'learned'"):
        Hidden(frozen_after=0.4)
