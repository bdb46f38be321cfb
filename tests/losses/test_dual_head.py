from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from asnn_goose.losses import Objective, Term
from asnn_goose.losses.cross_entropy import CrossEntropy
from asnn_goose.losses.dual_head import DualHead
from asnn_goose.losses.kinds import Chunk
from asnn_goose.trace import Batch, Trace

CHUNK = Chunk(labels_n=torch.tensor([0, 0]), mask_n=torch.tensor([True, True]), progress=0.0)


def by_hand(d_nV: Tensor, *, tau: float = 2.0) -> Tensor:
    """The authors' form over 100 classes, for d less its mean."""
    d = (d_nV - d_nV.mean(-1, keepdim=True)).double() / tau
    sides = (0.5 / torch.sigmoid(d)).log() + (0.5 / torch.sigmoid(-d)).log()
    return 100 * tau**2 * (0.5 * sides).mean(-1)


def test_it_is_the_authors_binary_kl() -> None:
    z, target = (4 * torch.randn(2, 2, 9)).unbind()
    found = DualHead(temperature=1.7)(z, target, CHUNK)
    assert torch.allclose(found.double(), by_hand(z - target, tau=1.7), rtol=1e-5)
    summed = DualHead(temperature=1.7, classes=9)(z, target, CHUNK)
    assert torch.allclose(summed.double(), by_hand(z - target, tau=1.7) * 9 / 100, rtol=1e-5)


def test_it_is_0_where_and_only_where_d_is() -> None:
    target, loss = torch.randn(2, 9), DualHead()
    assert torch.equal(loss(target, target, CHUNK), torch.zeros(2))
    assert torch.allclose(loss(target + 5.0, target, CHUNK), torch.zeros(2), atol=1e-4)
    for word in range(9):
        other = target.clone()
        other[:, word] += 0.1
        assert bool((loss(other, target, CHUNK) > 1e-4).all())


def test_the_likeliest_words_alone() -> None:
    z, target = torch.randn(2, 2, 9).unbind()
    words = target.topk(3, dim=-1).indices
    d = z.gather(-1, words) - target.gather(-1, words)
    found = DualHead(top_k=3)(z, target, CHUNK)
    assert torch.allclose(found.double(), by_hand(d), rtol=1e-5)


def whole(
    student: Trace, teacher: Trace, batch: Batch, *, head_VD: Tensor | None, own_VD: Tensor
) -> Tensor:
    """Both terms over the whole (B*T,V) at once."""
    assert student.final_BTD is not None
    rows, mask_n = student.final_BTD.flatten(0, 1), batch.mask_BT.flatten()
    chunk = Chunk(labels_n=batch.labels_BT.flatten(), mask_n=mask_n, progress=0.0)
    value_n = 0.5 * DualHead()(rows @ own_VD.T, teacher.vocab(slice(None)).detach(), chunk)
    if head_VD is not None:
        value_n = value_n + CrossEntropy()(rows @ head_VD.T, None, chunk)
    return value_n[mask_n].mean()


@pytest.mark.parametrize("alone", [False, True])
def test_the_own_head_trains_beside_the_students(
    alone: bool, passing: Callable[[int], Trace], batch: Batch
) -> None:
    terms = [Term("dual_head", 0.5, DualHead())] + [Term("ce", 1.0, CrossEntropy())] * (not alone)
    objective = Objective(terms, chunk=4)
    assert objective.wants_head
    head_VD = passing(3).head_VD
    assert head_VD is not None
    objective.adopt(head_VD)
    ((name, own_VD),) = objective.named_parameters()
    assert name == "losses.dual_head.head_VD"

    student, reference, teacher = passing(1), passing(1), passing(2)
    found = torch.stack(list(objective(student, teacher, batch).values())).sum()
    found.backward()
    copy_VD = head_VD.detach().clone().requires_grad_()
    wanted = whole(
        reference, teacher, batch, head_VD=None if alone else reference.head_VD, own_VD=copy_VD
    )
    wanted.backward()
    assert float(found) == pytest.approx(float(wanted), rel=1e-5)
    pairs = [(student.final_BTD, reference.final_BTD), (own_VD, copy_VD)]
    for left, right in [*pairs, (student.head_VD, reference.head_VD)]:
        assert left is not None
        assert right is not None
        if left.grad is None:
            assert alone
            assert left is student.head_VD
        else:
            assert right.grad is not None
            assert torch.allclose(left.grad, right.grad, atol=1e-6)
    with torch.no_grad():
        own_VD.add_(1.0)
    assert torch.equal(head_VD, copy_VD)  # the student's head is left alone


def test_what_is_wrong_is_named(passing: Callable[[int], Trace], batch: Batch) -> None:
    with pytest.raises(ValueError, match="top_k = 1"):
        DualHead(top_k=1)
    with pytest.raises(ValueError, match="no head yet"):
        Objective([Term("dual_head", 1.0, DualHead())])(passing(1), passing(2), batch)
