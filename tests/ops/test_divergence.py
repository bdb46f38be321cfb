"""KL in one pass: value and slope of the plain formula, for any vocabulary and temperature."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from asnn_goose.losses.divergence import kl_divergence
from asnn_goose.losses.top_words import LEAST, top_divergence
from asnn_goose.ops.divergence import fits_vocabulary, fused_kl, fused_top_kl
from asnn_goose.trace import TopWords

pytestmark = pytest.mark.usefixtures("isa")


def logits(words: int, seed: int) -> Tensor:
    return 4 * torch.randn(5, words, generator=torch.Generator().manual_seed(seed)) - 3


def with_slope(values_n: Tensor, z_nV: Tensor) -> tuple[Tensor, Tensor]:
    """Values, and the gradient of their sum weighted 1 to 5."""
    (slope_nV,) = torch.autograd.grad((values_n * torch.arange(1, 6)).sum(), z_nV)
    return values_n.detach(), slope_nV


def plain(z_nV: Tensor, teacher_nV: Tensor, tau: float) -> Tensor:
    log_p_nV, log_q_nV = (torch.log_softmax(x / tau, -1) for x in (teacher_nV, z_nV))
    return tau**2 * kl_divergence(log_p_nV, log_q_nV)


def top_of(teacher_nV: Tensor, count: int, tau: float) -> TopWords:
    log_p_nV = torch.log_softmax(teacher_nV.double(), -1)
    log_p_nK, ids_nK = log_p_nV.topk(count, -1)
    rest_n = torch.logsumexp(log_p_nV.scatter(-1, ids_nK, -torch.inf) / tau, -1)
    return TopWords(
        ids_nK=ids_nK, log_p_nK=log_p_nK.float(), rest_nG=rest_n[:, None].float(),
        temperatures=(tau,),
    )  # fmt: skip


@pytest.mark.parametrize("tau", [0.7, 1.0, 3.0])
@pytest.mark.parametrize("words", [3, 64, 1500, 4099])
def test_kl_and_its_slope(words: int, tau: float) -> None:
    z_nV, teacher_nV = logits(words, 0), logits(words, 1)
    wide_nV = z_nV.double().requires_grad_()
    value, slope = with_slope(plain(wide_nV, teacher_nV.double(), tau), wide_nV)
    z_nV.requires_grad_()
    found, found_slope = with_slope(fused_kl(z_nV, teacher_nV, tau), z_nV)
    assert torch.allclose(found.double(), value, rtol=2e-6, atol=1e-6)
    assert torch.allclose(found_slope.double(), slope, atol=1e-6)


def test_kl_to_itself_is_nothing() -> None:
    z_nV = logits(777, 0).requires_grad_()
    value, slope = with_slope(fused_kl(z_nV, z_nV.detach(), 2.0), z_nV)
    assert value.abs().max() < 1e-6
    assert slope.abs().max() < 1e-6


@pytest.mark.parametrize("tau", [1.0, 2.5])
@pytest.mark.parametrize(("words", "count"), [(40, 1), (40, 39), (40, 40), (4099, 64)])
def test_kl_to_the_top_words_and_its_slope(words: int, count: int, tau: float) -> None:
    z_nV, top = logits(words, 0), top_of(logits(words, 1), count, tau)
    wide_nV = z_nV.double().requires_grad_()
    log_q_nV = torch.log_softmax(wide_nV / tau, -1)
    wide = TopWords(
        ids_nK=top.ids_nK, log_p_nK=top.log_p_nK.double(), rest_nG=top.rest_nG.double(),
        temperatures=(tau,),
    )  # fmt: skip
    value, slope = with_slope(tau**2 * top_divergence(wide, log_q_nV, tau), wide_nV)
    z_nV.requires_grad_()
    fused = fused_top_kl(z_nV, top.ids_nK, *top.at(tau), tau, least=LEAST)
    found, found_slope = with_slope(fused, z_nV)
    assert torch.allclose(found.double(), value, rtol=1e-5, atol=2e-6)
    assert torch.allclose(found_slope.double(), slope, atol=2e-6)


def test_a_student_with_nothing_left_for_the_rest_keeps_a_finite_slope() -> None:
    top = top_of(logits(40, 1), 4, 1.0)
    z_nV = torch.zeros(5, 40).scatter(-1, top.ids_nK, 60.0).requires_grad_()
    fused = fused_top_kl(z_nV, top.ids_nK, *top.at(1.0), 1.0, least=LEAST)
    value, slope = with_slope(fused, z_nV)
    wanted, wanted_slope = with_slope(top_divergence(top, torch.log_softmax(z_nV, -1), 1.0), z_nV)
    assert torch.allclose(value, wanted, rtol=1e-4)
    assert torch.allclose(slope, wanted_slope, atol=1e-5)


def test_what_is_no_number_is_noticed() -> None:
    z_nV = logits(50, 0)
    z_nV[2, 49] = torch.nan
    top = top_of(logits(50, 1), 4, 1.0)
    for values_n in (
        fused_kl(z_nV, logits(50, 1), 1.0),
        fused_top_kl(z_nV, top.ids_nK, *top.at(1.0), 1.0, least=LEAST),
    ):
        assert values_n.isfinite().tolist() == [True, True, False, True, True]


def test_other_types_are_left_to_pytorch() -> None:
    assert fits_vocabulary(logits(3, 0), top=4096)
    assert not fits_vocabulary(logits(3, 0), top=4097)
    assert not fits_vocabulary(logits(3, 0).double())
    with torch.autocast("cpu", torch.bfloat16):
        assert not fits_vocabulary(logits(3, 0))
