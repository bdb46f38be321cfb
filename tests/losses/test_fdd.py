from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asnn_goose.losses.fdd import FDD
from asnn_goose.trace import IGNORED_LABEL, Batch, Trace

Passing = Callable[[int], Trace]


def norm(seed: int) -> nn.LayerNorm:
    made = nn.LayerNorm(8)
    with torch.no_grad():
        made.weight.normal_(1, 0.2, generator=torch.Generator().manual_seed(seed))
    return made


@pytest.fixture
def models(passing: Passing) -> tuple[Trace, Trace]:
    """Student of 3 and teacher of 6 blocks, each with a norm of its own."""
    student, teacher = passing(1), passing(2)
    deep = (*teacher.hidden, *passing(3).hidden[:3])
    return (
        dataclasses.replace(student, final_norm=norm(1)),
        dataclasses.replace(teacher, final_norm=norm(2), hidden=deep),
    )


def words(trace: Trace, layer: int, batch: Batch) -> Tensor:
    assert trace.final_norm is not None
    assert trace.head_VD is not None
    return F.log_softmax(trace.final_norm(trace.hidden[layer][batch.mask_BT]) @ trace.head_VD.T, -1)


def by_hand(student: Trace, teacher: Trace, batch: Batch, pairs: list[tuple[int, int]]) -> Tensor:
    """Whole (n,V) at once, by plain autograd: trajectory 0.7, derivative 0.3."""
    s = [words(student, j, batch) for j, _ in pairs]
    t = [words(teacher, g, batch).detach() for _, g in pairs]
    value = 0.7 * sum((b.exp() * (b - a)).sum(-1).mean() for a, b in zip(s, t, strict=True))
    for i in range(1, len(pairs)):
        turned = 1 - F.cosine_similarity(s[i] - s[i - 1], t[i] - t[i - 1], dim=-1)
        value = value + 0.3 * turned.mean()
    return torch.as_tensor(value)


@pytest.mark.parametrize("chunk", [1, 5, 100])
@pytest.mark.parametrize(("layers", "pairs"), [(4, [(1, 2), (2, 4), (3, 6)]), (1, [(3, 6)])])
def test_values_and_gradients_are_those_of_the_formula(
    chunk: int,
    layers: int,
    pairs: list[tuple[int, int]],
    models: tuple[Trace, Trace],
    batch: Batch,
) -> None:
    student, teacher = models
    assert isinstance(student.final_norm, nn.Module)
    assert student.head_VD is not None
    leaves = [
        *(student.hidden[j] for j, _ in pairs),
        student.head_VD,
        *student.final_norm.parameters(),
    ]
    loss = FDD(layers=layers, trajectory=0.7, derivative=0.3, chunk=chunk)
    found, wanted = loss(student, teacher, batch), by_hand(student, teacher, batch, pairs)
    assert found.item() == pytest.approx(wanted.item(), rel=1e-5)
    got = torch.autograd.grad(3 * found, leaves)
    for g, w in zip(got, torch.autograd.grad(3 * wanted, leaves), strict=True):
        assert torch.allclose(g, w, rtol=1e-4, atol=1e-6)


def test_an_identical_model_costs_nothing(models: tuple[Trace, Trace], batch: Batch) -> None:
    assert abs(FDD()(models[0], models[0], batch).item()) < 1e-5


def test_the_derivative_ignores_the_length_of_changes(batch: Batch) -> None:
    loss = FDD(trajectory=0.0)
    ours, theirs = torch.randn(2, 4, 3, 9, generator=torch.Generator().manual_seed(0)).unbind()
    plain = loss._per_token(ours, theirs)
    stretched = ours[:, :1] + 5 * (ours - ours[:, :1])
    assert torch.allclose(loss._per_token(stretched, theirs), plain, rtol=1e-5)
    assert torch.allclose(loss._per_token(theirs, theirs), torch.zeros(4), atol=1e-6)
    assert torch.allclose(loss._per_token(-theirs, theirs), torch.full((4,), 4.0))


def test_a_block_that_does_nothing_has_a_bounded_gradient(
    models: tuple[Trace, Trace], batch: Batch
) -> None:
    student, teacher = models
    idle = dataclasses.replace(student, hidden=(student.hidden[0],) * 4)
    (gradient,) = torch.autograd.grad(FDD()(idle, teacher, batch), student.hidden[0])
    assert gradient.isfinite().all()
    assert gradient.abs().max() < 1e5
    assert abs(FDD()(idle, idle, batch).item()) < 1e-6


def test_no_logits_of_more_than_a_chunk_exist(models: tuple[Trace, Trace], batch: Batch) -> None:
    student, teacher = models
    shown: list[int] = []
    assert teacher.final_norm is not None
    inner = teacher.final_norm

    def watched(x: Tensor) -> Tensor:
        shown.append(x.shape[0])
        return inner(x)

    FDD(chunk=5)(student, dataclasses.replace(teacher, final_norm=watched), batch)
    assert shown == [5, 5, 5, 3]


def test_a_batch_without_labels_costs_nothing(models: tuple[Trace, Trace], batch: Batch) -> None:
    empty = dataclasses.replace(batch, labels_BT=torch.full_like(batch.labels_BT, IGNORED_LABEL))
    loss = FDD()(*models, empty)
    loss.backward()
    assert loss.item() == 0


def test_what_does_not_fit_is_named(models: tuple[Trace, Trace], batch: Batch) -> None:
    student, teacher = models
    with pytest.raises(ValueError, match=r"teacher's Trace has no norm"):
        FDD()(student, dataclasses.replace(teacher, final_norm=None), batch)
    assert teacher.head_VD is not None
    smaller = dataclasses.replace(teacher, head_VD=teacher.head_VD[:20])
    with pytest.raises(ValueError, match="student has 23 words, the teacher 20"):
        FDD()(student, smaller, batch)
    with pytest.raises(ValueError, match=r"trajectory = 0\.0, derivative = 0\.0"):
        FDD(trajectory=0.0, derivative=0.0)
    with pytest.raises(ValueError, match="chunk = 0"):
        FDD(chunk=0)
    with pytest.raises(ValueError, match="layers = 0"):
        FDD(layers=0)
