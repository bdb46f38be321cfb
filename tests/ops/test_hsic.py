from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from asnn_goose.ops.hsic import unbiased_cka, unbiased_hsic, uncentred_cka


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_tuples(K: Tensor, L: Tensor) -> float:
    """The U-statistic itself: the mean over all ordered quadruples of different rows."""
    values = [
        K[i, j] * (L[i, j] + L[q, r] - 2 * L[i, q])
        for i, j, q, r in itertools.permutations(range(len(K)), 4)
    ]
    return float(torch.stack(values).mean())


def test_hsic_is_the_u_statistic() -> None:
    x, y = draw(6, 3, seed=1) + 2, draw(6, 4, seed=2) - 1
    K, L = x @ x.T, y @ y.T
    assert float(unbiased_hsic(K, L)) == pytest.approx(by_tuples(K, L), rel=1e-10)


def test_independent_features_of_few_tokens_are_not_alike() -> None:
    """The case in which the biased form, uncentred or centred, is misled."""
    x, y = draw(64, 256, seed=3) + 3, draw(64, 128, seed=4) + 3
    assert abs(float(unbiased_cka(x, y))) < 0.1
    assert float(uncentred_cka(x, y)) > 0.95


def test_it_is_one_for_itself_after_rotation_scale_and_shift() -> None:
    x = draw(20, 6, seed=5)
    turn, _ = torch.linalg.qr(draw(6, 6, seed=6))
    y = draw(20, 9, seed=7) + x[:, :1]
    assert float(unbiased_cka(x, x)) == pytest.approx(1, abs=1e-12)
    moved = 0.3 * x @ turn + draw(6, seed=8)
    assert float(unbiased_cka(x, moved)) == pytest.approx(1, abs=1e-12)
    assert float(unbiased_cka(moved, y)) == pytest.approx(float(unbiased_cka(x, y)), abs=1e-12)


def test_a_large_mean_costs_no_digits_in_fp32() -> None:
    x, y = draw(64, 16, seed=1), draw(64, 16, seed=2)
    y = y + x
    wanted = float(unbiased_cka(x, y))
    assert float(unbiased_cka(x.float() + 100, y.float())) == pytest.approx(wanted, abs=1e-4)


def test_uncentred_is_the_ratio_of_norms() -> None:
    x, y = draw(9, 3, seed=1), draw(9, 4, seed=2)
    wanted = (y.T @ x).norm() ** 2 / ((x.T @ x).norm() * (y.T @ y).norm())
    assert float(uncentred_cka(x, y)) == pytest.approx(float(wanted), rel=1e-12)


def test_gradients_are_those_of_finite_differences() -> None:
    x, y = draw(6, 3, seed=1).requires_grad_(), draw(6, 4, seed=2).requires_grad_()
    assert torch.autograd.gradcheck(unbiased_cka, (x, y))
    assert torch.autograd.gradcheck(uncentred_cka, (x, y))


def test_autocast_does_not_lower_the_precision() -> None:
    x, y = draw(16, 4, seed=1).float(), draw(16, 4, seed=2).float()
    with torch.autocast("cpu", torch.bfloat16):
        found = unbiased_cka(x, y), uncentred_cka(x, y)
    assert [float(v) for v in found] == [float(unbiased_cka(x, y)), float(uncentred_cka(x, y))]


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(ValueError, match=r"n = 3 rows.*at least 4"):
        unbiased_hsic(torch.eye(3), torch.eye(3))
