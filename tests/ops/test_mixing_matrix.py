from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from asnn_goose.ops.mixing_matrix import mixing_matrix
from asnn_goose.ops.wkv7 import wkv7

LOWEST_LOG_W = -0.6065306597126334


def mixed(matrix_BHTT: Tensor, v_BTHN: Tensor) -> Tensor:
    return torch.einsum("bhts,bshn->bthn", matrix_BHTT, v_BTHN)


@pytest.mark.parametrize("T", [1, 2, 17, 40])
def test_it_does_to_values_what_the_recurrence_does(
    T: int, operands: Callable[..., object]
) -> None:
    r, log_w, k, v, alpha, beta, _ = operands(T=T, N=8).inputs  # type: ignore[attr-defined]
    wanted, _ = wkv7(r, log_w, k, v, alpha, beta, form="recurrent")
    matrix = mixing_matrix(r, log_w, k, alpha, beta)
    assert torch.allclose(mixed(matrix, v), wanted, rtol=1e-10, atol=1e-12)
    assert not matrix.triu(1).any()


def test_gradients_are_those_of_the_recurrence(operands: Callable[..., object]) -> None:
    r, log_w, k, v, alpha, beta, _ = operands(T=12, N=8).inputs  # type: ignore[attr-defined]
    leaves = [x.requires_grad_() for x in (r, log_w, k, alpha, beta)]
    dy = torch.randn_like(v)
    y = mixed(mixing_matrix(*leaves), v)
    wanted, _ = wkv7(r, log_w, k, v, alpha, beta, form="recurrent")
    found = torch.autograd.grad(y, leaves, dy)
    for got, want in zip(found, torch.autograd.grad(wanted, leaves, dy), strict=True):
        assert torch.allclose(got, want, rtol=1e-8, atol=1e-10)


def test_gradients_are_those_of_finite_differences(operands: Callable[..., object]) -> None:
    r, log_w, k, _, alpha, beta, _ = operands(B=1, T=4, H=1, N=3).inputs  # type: ignore[attr-defined]
    assert torch.autograd.gradcheck(
        mixing_matrix, tuple(x.requires_grad_() for x in (r, log_w, k, alpha, beta))
    )


def test_the_longest_window_at_the_fastest_decay_stays_exact_in_fp32(
    operands: Callable[..., object],
) -> None:
    r, log_w, k, v, alpha, beta, _ = operands(B=1, T=256, H=1, N=8).inputs  # type: ignore[attr-defined]
    log_w = torch.full_like(log_w, LOWEST_LOG_W)
    wanted, _ = wkv7(r, log_w, k, v, alpha, beta, form="recurrent")
    leaves = [x.float().requires_grad_() for x in (r, log_w, k, alpha, beta)]
    y = mixed(mixing_matrix(*leaves), v.float())
    assert ((y.double() - wanted).norm() / wanted.norm()).item() < 1e-4
    assert all(g.isfinite().all() for g in torch.autograd.grad(y.sum(), leaves))


def test_longer_windows_are_refused() -> None:
    x = torch.zeros(1, 257, 1, 2)
    with pytest.raises(ValueError, match=r"window = 257.*256"):
        mixing_matrix(x, x, x, x, x)
