from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from asnn_goose.losses.matrix_orientation import MatrixOrientation
from asnn_goose.ops.rotary import rotate
from asnn_goose.ops.wkv7 import wkv7
from asnn_goose.trace import Batch, Rotation, Trace, Window

Passing = Callable[[int], Trace]
Saying = Callable[..., Trace]
NAMES = ("log_decay", "removal", "rate", "written")


@pytest.fixture
def student(passing: Passing) -> Trace:
    """A pass with the operands of a recurrence, as RWKV-7 makes them."""
    generator = torch.Generator().manual_seed(9)

    def draw() -> Tensor:
        return torch.randn(2, 11, 2, 4, generator=generator)

    made = [
        (-0.6 * draw().sigmoid(), F.normalize(draw(), dim=-1), draw().sigmoid(), draw())
        for _ in range(3)
    ]
    fields = {
        name: tuple(x.requires_grad_() for x in column)
        for name, column in zip(NAMES, zip(*made, strict=True), strict=True)
    }
    trace = passing(1)
    return dataclasses.replace(trace, signals={**trace.signals, **fields})


@pytest.fixture
def teacher(passing: Passing) -> Trace:
    """A pass with attention alone."""
    trace = passing(2)
    kept = {name: x for name, x in trace.signals.items() if name not in NAMES}
    return dataclasses.replace(trace, signals=kept)


def without(trace: Trace, b: int, mask_BT: Tensor) -> Trace:
    """One sequence of a pass with only the tokens that count."""
    kept = {n: tuple(x[b : b + 1, mask_BT[b]] for x in xs) for n, xs in trace.signals.items()}
    return dataclasses.replace(trace, signals=kept)


def matrices(student: Trace, teacher: Trace, block: int, theta: float) -> tuple[Tensor, Tensor]:
    """M_S from the recurrence run on unit vectors, M_T from torch's attention, as (H,T,T)."""
    r, log_w, kappa, a, k = (student.signals[n][block].double() for n in ("queries", *NAMES))
    q, key = (teacher.signals[n][block].double() for n in ("queries", "keys"))
    T = r.shape[1]
    if theta:
        q, key = (rotate(x, torch.arange(T)[None], theta=theta) for x in (q, key))
    columns = []
    for s in range(T):
        unit = torch.zeros_like(r)
        unit[:, s, :, 0] = 1
        y, _ = wkv7(r, log_w, k, unit, -kappa, kappa * a, form="recurrent")
        columns.append(y[0, :, :, 0])
    ones = torch.eye(T, dtype=torch.float64).expand(2, T, T)[None]
    attention = F.scaled_dot_product_attention(
        q.transpose(1, 2), key.transpose(1, 2), ones, is_causal=True
    )
    return torch.stack(columns, -1).transpose(0, 1), attention[0]


@pytest.mark.parametrize("theta", [0.0, 100.0])
def test_it_is_the_distance_of_the_two_matrices(
    theta: float, student: Trace, teacher: Trace, batch: Batch
) -> None:
    labels = torch.ones_like(batch.labels_BT)
    whole = dataclasses.replace(batch, labels_BT=labels)
    norms = []
    for b in range(2):
        alone = [
            without(x, b, whole.mask_BT)
            for x in (
                student,
                teacher,
            )
        ]
        for block in range(3):
            found, wanted = matrices(alone[0], alone[1], block, theta)
            norms.append((found - wanted).square().sum((-1, -2)).sqrt().mean())
    turned = dataclasses.replace(teacher, rotations=(Rotation(theta),) * 3)
    loss = MatrixOrientation()(student, turned, whole)
    assert loss.item() == pytest.approx(torch.stack(norms).mean().item(), rel=1e-5)


def test_tokens_of_two_documents_are_not_compared(
    student: Trace, teacher: Trace, batch: Batch
) -> None:
    """Squares of the errors within each document, as if it stood alone; none between the two."""
    documents_BT = (torch.arange(11) >= 4).long().expand(2, 11)
    squares_LBH = torch.zeros(3, 2, 2, dtype=torch.float64)
    for b in range(2):
        for document in range(2):
            alone = [without(x, b, documents_BT == document) for x in (student, teacher)]
            for block in range(3):
                found, wanted = matrices(alone[0], alone[1], block, 0.0)
                squares_LBH[block, b] += (found - wanted).square().sum((-1, -2)).detach()
    apart = (
        dataclasses.replace(x, window=Window(documents_BT=documents_BT)) for x in (student, teacher)
    )
    whole = dataclasses.replace(batch, labels_BT=torch.ones_like(batch.labels_BT))
    loss = MatrixOrientation()(*apart, whole)
    assert loss.item() == pytest.approx(squares_LBH.sqrt().mean().item(), rel=1e-5)


def test_tokens_that_do_not_count_are_as_if_absent(
    student: Trace, teacher: Trace, batch: Batch
) -> None:
    values = []
    for b in range(2):
        ours, theirs = (without(x, b, batch.mask_BT) for x in (student, teacher))
        labels = torch.ones(1, int(batch.mask_BT[b].sum()), dtype=torch.int64)
        values.append(
            MatrixOrientation()(ours, theirs, dataclasses.replace(batch, labels_BT=labels)).item()
        )
    found = MatrixOrientation()(student, teacher, batch)
    assert found.item() == pytest.approx(sum(values) / 2, rel=1e-5)


def test_gradients_arrive_at_every_operand(student: Trace, teacher: Trace, batch: Batch) -> None:
    MatrixOrientation()(student, teacher, batch).backward()
    for name in ("queries", *NAMES):
        for x in student.signals[name]:
            assert x.grad is not None
            assert x.grad.isfinite().all()
            assert x.grad.any()


def test_a_mixer_can_be_turned_towards_attention(
    student: Trace, teacher: Trace, batch: Batch, saying: Saying
) -> None:
    """A step against the gradient lowers the loss by what the gradient says."""
    loss = MatrixOrientation()
    before = loss(student, teacher, batch)
    gradients = torch.autograd.grad(before, student.signals["written"])
    slope = sum(g.square().sum() for g in gradients)
    step = 1e-2
    moved = tuple(x - step * g for x, g in zip(student.signals["written"], gradients, strict=True))
    after = loss(saying(student, written=moved), teacher, batch)
    assert (before - after).item() == pytest.approx(step * float(slope), rel=0.05)


def test_what_does_not_fit_is_named(
    student: Trace, teacher: Trace, batch: Batch, saying: Saying
) -> None:
    loss = MatrixOrientation()
    with pytest.raises(ValueError, match=r"student's Trace has no recurrence"):
        loss(teacher, teacher, batch)
    fewer = saying(teacher, queries=teacher.signals["queries"][:2])
    with pytest.raises(ValueError, match="student has 3 blocks, the teacher 2"):
        loss(student, fewer, batch)
    more = saying(teacher, queries=tuple(q.repeat(1, 1, 2, 1) for q in teacher.signals["queries"]))
    with pytest.raises(ValueError, match="student has 2 heads, the teacher 4"):
        loss(student, more, batch)


def test_a_recurrent_teacher_is_compared_by_its_own_matrix(
    student: Trace, batch: Batch, saying: Saying
) -> None:
    loss = MatrixOrientation()
    assert loss(student, student, batch).item() < 1e-6
    halved = saying(student, queries=tuple(r / 2 for r in student.signals["queries"]))
    doubled = saying(student, queries=tuple(2 * r for r in student.signals["queries"]))
    assert loss(doubled, student, batch).item() == pytest.approx(
        2 * loss(halved, student, batch).item(), rel=1e-5
    )
