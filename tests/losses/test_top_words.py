"""KL to a cached teacher: what knowing a few words and the mass of the rest is worth."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from asnn_goose.losses import VOCAB_LOSSES, Objective, Term
from asnn_goose.losses.kinds import Chunk
from asnn_goose.losses.kl import KL
from asnn_goose.trace import Batch, TopWords, Trace

V, N = 23, 6


def logits(seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(N, V, generator=generator, dtype=torch.float64)


def top_of(z_nV: torch.Tensor, count: int, *taus: float) -> TopWords:
    log_p_nV = torch.log_softmax(z_nV, -1)
    log_p_nK, ids_nK = log_p_nV.topk(count, -1)
    others_nV = log_p_nV.scatter(-1, ids_nK, -torch.inf)
    rest = torch.stack([torch.logsumexp(others_nV / tau, -1) for tau in taus], -1)
    return TopWords(ids_nK=ids_nK, log_p_nK=log_p_nK, rest_nG=rest, temperatures=taus)


def chunk_of(top: TopWords | None) -> Chunk:
    labels_n = torch.zeros(N, dtype=torch.long)
    return Chunk(labels_n=labels_n, mask_n=labels_n == 0, progress=0.5, top=top)


@pytest.mark.parametrize("tau", [1.0, 2.0])
def test_with_all_words_it_is_kl_and_its_gradient(tau: float) -> None:
    z_teacher, loss, found = logits(1), KL(temperature=tau), []
    for top in (None, top_of(z_teacher, V, 1.0, 2.0)):
        z_student = logits(0).requires_grad_()
        values = loss(z_student, None if top else z_teacher, chunk_of(top))
        values.sum().backward()
        assert z_student.grad is not None
        found.append((values.detach(), z_student.grad))
    (value, slope), (cached, cached_slope) = found
    assert torch.allclose(value.double(), cached.double(), atol=1e-5)
    assert torch.allclose(slope, cached_slope, atol=1e-6)


@pytest.mark.parametrize("tau", [1.0, 2.0])
@pytest.mark.parametrize("count", [1, 5, V - 1])
def test_with_some_words_it_is_kl_with_the_rest_as_one_word(count: int, tau: float) -> None:
    z_teacher, z_student = logits(1), logits(0)
    top = top_of(z_teacher, count, 0.5, tau)
    joined = []
    for z_nV in (z_teacher, z_student):
        p_nV = torch.softmax(z_nV / tau, -1)
        known_nK = p_nV.gather(-1, top.ids_nK)
        joined.append(torch.cat((known_nK, 1 - known_nK.sum(-1, keepdim=True)), -1))
    wanted = tau**2 * (joined[0] * (joined[0] / joined[1]).log()).sum(-1)
    found = KL(temperature=tau)(z_student, None, chunk_of(top))
    assert torch.allclose(found.double(), wanted, atol=1e-5)
    whole = KL(temperature=tau)(z_student, z_teacher, chunk_of(None))
    assert (found <= whole + 1e-6).all()


def test_the_rest_is_moved_as_a_whole() -> None:
    z_teacher, z_student = logits(1), logits(0).float().requires_grad_()
    top = top_of(z_teacher.float(), 4, 1.0)
    KL()(z_student, None, chunk_of(top)).sum().backward()
    assert z_student.grad is not None
    q_nV = torch.softmax(z_student.detach(), -1)
    rest_nV = torch.ones(N, V, dtype=torch.bool).scatter(-1, top.ids_nK, False)
    ratios = [
        (row[rest] / q[rest]) for row, q, rest in zip(z_student.grad, q_nV, rest_nV, strict=True)
    ]
    assert all(torch.allclose(ratio, ratio[:1], atol=1e-4) for ratio in ratios)
    assert (torch.stack([ratio[0] for ratio in ratios]).abs() > 1e-3).any()


def test_a_student_sure_of_other_words_keeps_a_finite_gradient() -> None:
    top = top_of(logits(1).float(), 4, 1.0)
    z_student = torch.zeros(N, V).scatter(-1, top.ids_nK, 60.0).requires_grad_()
    KL()(z_student, None, chunk_of(top)).sum().backward()
    assert z_student.grad is not None
    assert z_student.grad.isfinite().all()


def test_another_temperature_is_refused() -> None:
    top = top_of(logits(1), 4, 1.0, 2.0)
    with pytest.raises(ValueError, match=r"temperature = 3: .* at 1, 2"):
        KL(temperature=3.0)(logits(0), None, chunk_of(top))


@pytest.mark.parametrize("name", sorted(VOCAB_LOSSES))
def test_a_loss_that_reads_words_alone_needs_no_logits_and_others_are_refused(name: str) -> None:
    loss = VOCAB_LOSSES[name]()
    objective = Objective([Term(name, 1.0, loss)], chunk=4)
    final_BTD, head_VD = torch.randn(1, N, 8), torch.randn(V, 8)
    student = Trace(final_BTD=final_BTD.requires_grad_(), head_VD=head_VD)
    teacher = Trace(top=top_of(logits(1).float(), 4, 1.0))
    tokens_BT = torch.zeros(1, N, dtype=torch.long)
    batch = Batch(tokens_BT=tokens_BT, labels_BT=tokens_BT, documents_BT=tokens_BT)
    if name != "kl" and loss.uses_teacher:
        with pytest.raises(ValueError, match=name):
            objective.check_top({1.0}, teacher="t")
        return
    objective.check_top({1.0}, teacher="t")
    assert objective(student, teacher, batch)[name].isfinite()


def test_every_chunk_sees_its_own_words() -> None:
    z_teacher = logits(1).float()
    head_VD, final_BTD = torch.eye(V), logits(0).float()[None]
    labels_BT = torch.zeros(1, N, dtype=torch.long)
    batch = Batch(tokens_BT=labels_BT, labels_BT=labels_BT, documents_BT=labels_BT)
    teacher = Trace(top=top_of(z_teacher, 5, 1.0))
    values = [
        Objective([Term("kl", 1.0, KL())], chunk=chunk)(
            Trace(final_BTD=final_BTD, head_VD=head_VD), teacher, batch
        )["kl"]
        for chunk in (2, N)
    ]
    assert torch.allclose(*values)
    mean = KL()(final_BTD[0], None, dataclasses.replace(chunk_of(teacher.top))).mean()
    assert torch.allclose(values[0], mean)


@pytest.mark.parametrize(
    ("loss", "told"),
    [
        (KL(temperature=2.0), "kl has a temperature of 2, .* 't' keeps 1, 4"),
        (KL(temperature=1.0, temperature_end=4.0, schedule="rising"), "kl asks for more"),
    ],
)
def test_what_a_cache_lacks_is_named(loss: KL, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Objective([Term("kl", 1.0, loss)]).check_top({1.0, 4.0}, teacher="t")
