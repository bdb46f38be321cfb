"""Mixers in the teacher's place: the pass is the student's where all are in, and who learns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from asnn_goose.losses import LOSSES, Objective, Term
from asnn_goose.losses.kl import KL
from asnn_goose.model import Teacher, convert
from asnn_goose.model.graft import graft_trace
from asnn_goose.model.teacher import FAMILIES
from asnn_goose.trace import Batch, Window
from asnn_goose.train.stages.replace import Replace, Replacing

VOCAB = frozenset({"vocab"})
Make = Callable[..., Teacher]


def batch_of(tokens_BT: Tensor, *, progress: float = 0.0) -> Batch:
    documents_BT = (torch.arange(tokens_BT.shape[1]) > 20).long().expand(tokens_BT.shape)
    return Batch(
        tokens_BT=tokens_BT,
        labels_BT=tokens_BT.roll(-1, 1),
        documents_BT=documents_BT,
        progress=progress,
    )


def replace(student: Any, teacher: Any, **settings: Any) -> Replace:
    objective = Objective([Term("kl", 1.0, KL())])
    return Replace(
        student=student,
        teacher=teacher,
        objective=objective,
        replacing=Replacing(**settings),
        resets=True,
    )


@pytest.mark.parametrize("family", sorted(FAMILIES))
@torch.no_grad()
def test_with_all_mixers_in_it_the_teacher_is_the_student(
    family: str, of_family: Make, tokens_BT: Tensor
) -> None:
    teacher = of_family(family)
    student = convert(teacher)
    window = Window(documents_BT=batch_of(tokens_BT).documents_BT)
    layers = set(range(len(student.blocks)))
    found = graft_trace(teacher, student, layers, tokens_BT, VOCAB, window=window)
    wanted = student.trace(tokens_BT, VOCAB, window=window).vocab(slice(None))
    scale = float(wanted.abs().max())
    torch.testing.assert_close(
        found.vocab(slice(None)), wanted[:, : teacher.words], rtol=0, atol=1e-4 * scale
    )
    own = teacher.trace(tokens_BT, VOCAB, window=window).vocab(slice(None))
    none = graft_trace(teacher, student, set(), tokens_BT, VOCAB, window=window)
    torch.testing.assert_close(none.vocab(slice(None)), own)
    assert (own - found.vocab(slice(None))).abs().max() > 1e-3 * scale


def test_only_the_mixers_that_are_in_learn(of_family: Make, tokens_BT: Tensor) -> None:
    teacher = of_family("llama")
    student = convert(teacher, v_first="none")
    stage = replace(student, teacher, share=(1.0, 1.0), layers=(1,))
    stage(batch_of(tokens_BT))["kl"].backward()
    learned = {name for name, p in student.named_parameters() if p.grad is not None}
    assert {name[: len("blocks.1.mixer.")] for name in learned} == {"blocks.1.mixer."}
    assert "blocks.1.mixer.receptance.weight" in learned
    assert all(p.grad is None for p in teacher.model.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_step_lowers_the_divergence(
    of_family: Make, tokens_BT: Tensor, dtype: torch.dtype
) -> None:
    teacher = of_family("llama")
    student = convert(teacher).train()
    teacher.model.to(dtype)
    stage = replace(student, teacher, share=(1.0, 1.0))
    mixers = [p for name, p in student.named_parameters() if ".mixer." in name]
    optimiser = torch.optim.SGD(mixers, lr=1e-3)
    losses = []
    for _ in range(2):
        optimiser.zero_grad()
        loss = stage(batch_of(tokens_BT))["kl"]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(mixers, 1.0)
        optimiser.step()
        losses.append(loss.item())
    assert losses[1] < losses[0]


def test_the_share_grows_over_the_stage(of_family: Make) -> None:
    teacher = of_family("llama")
    student = convert(teacher)
    blocks = len(student.blocks)
    stage = replace(student, teacher, share=(0.0, 1.0))
    assert all(len(stage.drawn(0.0)) == 1 for _ in range(20))
    assert stage.drawn(1.0) == frozenset(range(blocks))
    drawn = [len(stage.drawn(0.5)) for _ in range(200)]
    assert 0.4 * blocks < sum(drawn) / len(drawn) < 0.75 * blocks
    among = replace(student, teacher, share=(0.0, 0.0), layers=(1,))
    assert {among.drawn(0.3) for _ in range(9)} == {frozenset({1})}
    torch.manual_seed(3)
    first = [stage.drawn(0.5) for _ in range(8)]
    torch.manual_seed(3)
    assert first == [stage.drawn(0.5) for _ in range(8)]


def test_a_teacher_without_attentions_is_refused(of_family: Make) -> None:
    teacher = of_family("llama")
    student = convert(teacher)
    with pytest.raises(ValueError, match="replace puts mixers into its teacher"):
        replace(student, teacher.model)


@torch.no_grad()
def test_heads_are_measured_by_what_varies(of_family: Make, tokens_BT: Tensor) -> None:
    teacher = of_family("llama")
    needs = frozenset({"head_outputs", "mixer_out"})
    trace = teacher.trace(tokens_BT, needs)
    heads = trace.signal("head_outputs")
    output = teacher.attention(0).o_proj
    torch.testing.assert_close(output(heads[0].flatten(-2)), trace.mixer_out[0])
    batch = batch_of(tokens_BT)
    loss = LOSSES["head_output"]()

    def cost(change: Callable[[Tensor], Tensor]) -> float:
        spoiled = tuple(change(x_BTHN) for x_BTHN in heads)
        other = trace.__class__(signals={"head_outputs": spoiled})
        return float(loss(other, trace, batch))

    mean = [x_BTHN.mean((0, 1)) for x_BTHN in heads]
    assert cost(lambda x_BTHN: x_BTHN) == 0
    means = iter(mean)
    # The average word of every head misses all that varies, however large the average is.
    assert cost(lambda x_BTHN: next(means).expand_as(x_BTHN)) == pytest.approx(1.0, rel=1e-5)
    quiet = torch.tensor([1.0] + [0.1] * (heads[0].shape[2] - 1)).view(-1, 1)
    whole = trace.__class__(signals={"head_outputs": tuple(x * quiet for x in heads)})
    zero = trace.__class__(signals={"head_outputs": tuple(torch.zeros_like(x) for x in heads)})
    loud = trace.__class__(signals={"head_outputs": heads})
    # Every head weighs the same, however quiet it is.
    assert float(loss(zero, whole, batch)) == pytest.approx(float(loss(zero, loud, batch)))


@torch.no_grad()
def test_heads_of_another_shape_are_refused(of_family: Make, tokens_BT: Tensor) -> None:
    trace = of_family("llama").trace(tokens_BT, frozenset({"head_outputs"}))
    halves = tuple(x.unflatten(-1, (2, -1)).flatten(2, 3) for x in trace.signal("head_outputs"))
    other = trace.__class__(signals={"head_outputs": halves})
    with pytest.raises(ValueError, match="head_output compares heads of one shape"):
        LOSSES["head_output"]()(other, trace, batch_of(tokens_BT))


@torch.no_grad()
def test_a_head_that_never_changes_does_not_outweigh_the_rest(
    of_family: Make, tokens_BT: Tensor
) -> None:
    trace = of_family("llama").trace(tokens_BT, frozenset({"head_outputs"}))
    heads = [x_BTHN.clone() for x_BTHN in trace.signal("head_outputs")]
    for x_BTHN in heads:
        x_BTHN[:, :, 0] = 1.0
    still = trace.__class__(signals={"head_outputs": tuple(heads)})
    off = trace.__class__(signals={"head_outputs": tuple(x_BTHN + 1e-3 for x_BTHN in heads)})
    assert float(LOSSES["head_output"]()(off, still, batch_of(tokens_BT))) < 1.0
