from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from asnn_goose.losses import VOCAB_LOSSES, Objective, Term, VocabLoss
from asnn_goose.losses.cross_entropy import CrossEntropy
from asnn_goose.losses.kinds import Chunk
from asnn_goose.losses.kl import KL
from asnn_goose.losses.outputs import AttentionOutput
from asnn_goose.losses.uld import ULD
from asnn_goose.trace import IGNORED_LABEL, Batch, Reading, Trace

Passing = Callable[[int], Trace]


class Scaled(VocabLoss):
    """A loss with a parameter of its own, and a record of what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.shown: list[tuple[int, ...]] = []

    def forward(self, z_student_nV: Tensor, z_teacher_nV: Tensor | None, chunk: Chunk) -> Tensor:
        assert z_teacher_nV is not None
        self.shown.append(tuple(z_student_nV.shape))
        return self.scale * (z_student_nV - z_teacher_nV).square().mean(-1)


def by_hand(student: Trace, teacher: Trace, batch: Batch, scale: Tensor) -> Tensor:
    """The same objective over the whole (B*T, V) at once, by plain autograd."""
    z, target = student.vocab(slice(None)), teacher.vocab(slice(None)).detach()
    chunk = Chunk(labels_n=batch.labels_BT.flatten(), mask_n=batch.mask_BT.flatten(), progress=0.5)
    per_token = (
        0.7 * KL(temperature=2.0)(z, target, chunk)
        + 0.3 * CrossEntropy()(z, None, chunk)
        + 2.0 * scale * (z - target).square().mean(-1)
    )
    return per_token[chunk.mask_n].mean()


@pytest.mark.parametrize("chunk", [1, 4, 5, 22, 100])
def test_chunks_give_the_values_and_gradients_of_the_whole(
    chunk: int, passing: Passing, batch: Batch
) -> None:
    own, scale = Scaled(), torch.tensor(1.5, requires_grad=True)
    objective = Objective(
        [
            Term("kl", 0.7, KL(temperature=2.0)),
            Term("ce", 0.3, CrossEntropy()),
            Term("own", 2.0, own),
        ],
        chunk=chunk,
    )
    student, reference, teacher = passing(1), passing(1), passing(2)
    terms = objective(student, teacher, batch)
    (3 * torch.stack(list(terms.values())).sum()).backward()
    wanted = by_hand(reference, teacher, batch, scale)
    (3 * wanted).backward()

    assert float(sum(terms.values())) == pytest.approx(float(wanted), rel=1e-5)
    for found, right in (
        (student.final_BTD, reference.final_BTD),
        (student.head_VD, reference.head_VD),
        (own.scale, scale),
    ):
        assert found is not None
        assert right is not None
        assert found.grad is not None
        assert torch.allclose(found.grad, right.grad, rtol=1e-4, atol=1e-6)
    assert max(rows for rows, _ in own.shown) == min(chunk, 22)


@pytest.mark.parametrize("apart", [True, [["kl"], ["ce", "own"]], [["ce"]]])
def test_gradients_kept_apart_are_those_of_each_group(
    apart: bool | list[list[str]], passing: Passing, batch: Batch
) -> None:
    own = Scaled()
    losses = {"kl": KL(temperature=2.0), "ce": CrossEntropy(), "own": own}
    weights = {"kl": 0.7, "ce": 0.3, "own": 2.0}
    objective = Objective([Term(n, weights[n], losses[n]) for n in losses], chunk=5, apart=apart)
    student, teacher = passing(1), passing(2)
    assert student.final_BTD is not None
    assert student.head_VD is not None
    leaves = [student.final_BTD, student.head_VD, own.scale]
    terms = objective(student, teacher, batch)
    names = [[list(losses)[number] for number in group] for group in objective.groups]
    assert sorted(name for group in names for name in group) == sorted(losses)
    for factor, group in zip((1.0, 3.0, -2.0), names, strict=False):
        total = factor * torch.stack([terms[name] for name in group]).sum()
        found = torch.autograd.grad(total, leaves, retain_graph=True, allow_unused=True)
        wanted = in_full(student, teacher, batch, own.scale, dict.fromkeys(group, factor), leaves)
        for left, right in zip(found, wanted, strict=True):
            assert torch.allclose(zero(left, right), zero(right, left), rtol=1e-4, atol=1e-6)
    one = {name: float(number) for number, group in enumerate(names) for name in group}
    together = torch.stack([one[name] * terms[name] for name in losses]).sum()
    found = torch.autograd.grad(together, leaves, allow_unused=True)
    wanted = in_full(student, teacher, batch, own.scale, one, leaves)
    for left, right in zip(found, wanted, strict=True):
        assert torch.allclose(zero(left, right), zero(right, left), rtol=1e-4, atol=1e-6)


def in_full(
    student: Trace,
    teacher: Trace,
    batch: Batch,
    scale: Tensor,
    factors: dict[str, float],
    leaves: list[Tensor],
) -> tuple[Tensor | None, ...]:
    """Gradient of a weighted sum of terms over the whole (B*T, V), by plain autograd."""
    z, target = student.vocab(slice(None)), teacher.vocab(slice(None)).detach()
    chunk = Chunk(labels_n=batch.labels_BT.flatten(), mask_n=batch.mask_BT.flatten(), progress=0.5)
    per_token = {
        "kl": 0.7 * KL(temperature=2.0)(z, target, chunk),
        "ce": 0.3 * CrossEntropy()(z, None, chunk),
        "own": 2.0 * scale * (z - target).square().mean(-1),
    }
    total = torch.stack([f * per_token[n][chunk.mask_n].mean() for n, f in factors.items()]).sum()
    return torch.autograd.grad(total, leaves, allow_unused=True)


def zero(grad: Tensor | None, other: Tensor | None) -> Tensor:
    """A gradient, or zeros like the other where there is none."""
    if grad is not None:
        return grad
    return torch.zeros(()) if other is None else torch.zeros_like(other)


def test_terms_of_one_group_share_their_gradient(passing: Passing, batch: Batch) -> None:
    terms = [Term("kl", 1.0, KL()), Term("ce", 1.0, CrossEntropy()), Term("own", 1.0, Scaled())]
    found = Objective(terms, apart=[["own"]])(passing(1), passing(2), batch)
    (found["own"] + 2 * found["kl"] + 2 * found["ce"]).backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="share their gradient"):
        (found["kl"] + 2 * found["ce"]).backward()


def test_one_gradient_serves_one_pass(passing: Passing, batch: Batch) -> None:
    terms = Objective([Term("kl", 1.0, KL()), Term("ce", 1.0, CrossEntropy())])(
        passing(1), passing(2), batch
    )
    total = terms["kl"] + terms["ce"]
    total.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="keep them apart"):
        total.backward()


class Told(VocabLoss):
    """A loss that writes down what it is told after a pass."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[float, float]] = []

    def forward(self, z_student_nV: Tensor, z_teacher_nV: Tensor | None, chunk: Chunk) -> Tensor:
        return z_student_nV.square().mean(-1)

    def finish(self, mean: Tensor, *, progress: float) -> None:
        self.told.append((float(mean), progress))

    def readings(self) -> dict[str, float]:
        return {"passes": float(len(self.told))}


def test_a_loss_is_told_its_mean_once_per_training_pass(passing: Passing, batch: Batch) -> None:
    told = Told()
    objective = Objective([Term("told", 0.25, told), Term("kl", 1.0, KL())], chunk=4)
    term = objective(passing(1), passing(2), batch)["told"]
    objective.eval()(passing(1), passing(2), batch)
    assert told.told == [(pytest.approx(4 * float(term.detach())), 0.5)]
    assert objective.readings() == {"told.passes": 1.0}


def test_terms_of_one_head_pass_cannot_be_weighed_apart(passing: Passing, batch: Batch) -> None:
    objective = Objective([Term("kl", 1.0, KL()), Term("ce", 1.0, CrossEntropy())])
    terms = objective(passing(1), passing(2), batch)
    with pytest.raises(RuntimeError, match="share their gradient"):
        (terms["kl"] + 2 * terms["ce"]).backward()


def test_a_frozen_head_gets_no_gradient(passing: Passing, batch: Batch) -> None:
    student = passing(1)
    assert student.head_VD is not None
    student.head_VD.requires_grad_(False)
    Objective([Term("kl", 1.0, KL())])(student, passing(2), batch)["kl"].backward()
    assert student.head_VD.grad is None
    assert student.final_BTD is not None
    assert student.final_BTD.grad is not None


class Counting(TorchDispatchMode):
    """Counts products with a head, and tensors of a head's shape that come into being."""

    def __init__(self, head_VD: Tensor) -> None:
        super().__init__()
        self.shape, self.products, self.made = head_VD.shape, 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.products += func in (torch.ops.aten.mm.default, torch.ops.aten.addmm_.default)
        new = torch.is_tensor(out) and not out._is_view() and all(out is not arg for arg in args)
        self.made += bool(new and out.shape == self.shape)
        return out


def never(*args: Any, **kwargs: Any) -> None:
    raise AssertionError("a gradient was taken")


@pytest.mark.parametrize("unwanted", ["no_grad", "nothing requires it"])
@pytest.mark.parametrize("names", [["kl"], ["kl", "ce", "ctkd", "adakd"], ["dual_head"]])
def test_without_a_use_for_gradients_there_are_values_alone(
    passing: Passing,
    batch: Batch,
    names: list[str],
    unwanted: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    student, teacher = passing(1), passing(2)
    assert student.head_VD is not None
    objective = Objective([Term(name, 1.0, VOCAB_LOSSES[name]()) for name in names], chunk=5).eval()
    objective.adopt(student.head_VD)
    with Counting(student.head_VD) as full:
        wanted = objective(student, teacher, batch)
    assert full.products == 5 * (2 + 2)  # both sides, and two products to go back
    if unwanted != "no_grad":
        objective.requires_grad_(False)
        student = replace(
            student, final_BTD=student.final_BTD.detach(), head_VD=student.head_VD.detach()
        )
    monkeypatch.setattr(torch.autograd, "grad", never)
    with torch.set_grad_enabled(unwanted != "no_grad"), Counting(student.head_VD) as bare:
        found = objective(student, teacher, batch)
    assert bare.products == 5 * 2
    assert (full.made, bare.made) == (1, 0)  # the sum of the head's gradient, or none
    for name in names:
        assert not found[name].requires_grad
        assert torch.equal(found[name], wanted[name].detach())


def test_a_group_has_no_gradient_of_what_it_does_not_reach(passing: Passing, batch: Batch) -> None:
    student = passing(1)
    assert student.head_VD is not None
    names = ("ce", "dual_head")
    objective = Objective([Term(n, 1.0, VOCAB_LOSSES[n]()) for n in names], apart=True)
    objective.adopt(student.head_VD)
    terms = objective(student, passing(2), batch)
    heads = [student.head_VD, next(objective.parameters())]
    for name, reached in (("ce", 0), ("dual_head", 1)):
        found = torch.autograd.grad(terms[name], heads, retain_graph=True, allow_unused=True)
        assert [gradient is not None for gradient in found] == [reached == n for n in (0, 1)]


def test_needs_are_those_of_the_losses() -> None:
    both = Objective([Term("kl", 1.0, KL()), Term("mixers", 1.0, AttentionOutput())])
    assert both.needs == both.teacher_needs == {"vocab", "mixer_out"}
    blind = Objective([Term("ce", 1.0, CrossEntropy())])
    assert (blind.needs, blind.teacher_needs) == ({"vocab"}, frozenset())


def test_wrong_objectives_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Objective([])
    with pytest.raises(ValueError, match="a name of its own"):
        Objective([Term("kl", 1.0, KL()), Term("kl", 1.0, KL())])
    with pytest.raises(ValueError, match="chunk = 0"):
        Objective([Term("kl", 1.0, KL())], chunk=0)
    two = [Term("kl", 1.0, KL()), Term("ce", 1.0, CrossEntropy())]
    for wrong in ([["kl"], ["kl"]], [["kd"]]):
        with pytest.raises(ValueError, match="name every loss at most once, of kl, ce"):
            Objective(two, apart=wrong)


def test_a_teacher_is_asked_only_where_it_has_read_the_same(passing: Passing, batch: Batch) -> None:
    student, teacher = passing(1), passing(2)
    places_n = torch.arange(batch.tokens_BT.numel())
    places_n[::3] = -1
    none_n = torch.full_like(places_n, -1)
    reading = Reading(
        places_n=places_n, spans_n=none_n, next_m=none_n, spans_m=none_n, spans=0
    )  # fmt: skip
    heard = replace(teacher, reading=reading)
    unread_BT = (places_n < 0).view_as(batch.labels_BT)
    asked = replace(batch, labels_BT=batch.labels_BT.masked_fill(unread_BT, IGNORED_LABEL))
    objective = Objective([Term("uld", 1.0, ULD()), Term("ce", 1.0, CrossEntropy())])
    found = objective(student, heard, batch)
    fewer = objective(student, teacher, asked)
    assert float(found["uld"]) == pytest.approx(float(fewer["uld"]), rel=1e-5)
    assert float(found["ce"]) != pytest.approx(float(fewer["ce"]), rel=1e-3)  # it asks no teacher
