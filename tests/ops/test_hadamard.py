from __future__ import annotations

import numpy as np
import pytest
import torch

from asnn_goose.ops.hadamard import BLOCK, hadamard


def sylvester(order: int) -> torch.Tensor:
    """H of the given size from its definition, by doubling."""
    matrix = torch.ones(1, 1, dtype=torch.float64)
    while matrix.shape[0] < order:
        matrix = torch.cat((torch.cat((matrix, matrix), 1), torch.cat((matrix, -matrix), 1)))
    return matrix


def test_it_is_sylvesters_matrix_in_every_block() -> None:
    x = torch.randn(3, 5, 3 * BLOCK, dtype=torch.float64)
    want = (x.view(3, 5, 3, BLOCK) @ sylvester(BLOCK).T / 8).reshape(x.shape)
    assert torch.allclose(hadamard(x), want, atol=1e-13)


def test_it_is_orthonormal_and_its_own_inverse() -> None:
    matrix = hadamard(torch.eye(BLOCK, dtype=torch.float64))
    assert torch.equal(matrix, matrix.T)
    assert torch.allclose(matrix @ matrix.T, torch.eye(BLOCK, dtype=torch.float64), atol=1e-14)
    x = torch.randn(7, 2 * BLOCK)
    assert torch.allclose(hadamard(hadamard(x)), x, atol=1e-6)


def test_the_order_of_additions_is_fixed() -> None:
    x = torch.randn(BLOCK)
    h = x.numpy().copy()
    for distance in (1, 2, 4, 8, 16, 32):
        for i in range(BLOCK):
            if not i & distance:
                a, b = h[i], h[i + distance]
                h[i], h[i + distance] = a + b, a - b
    assert np.array_equal(hadamard(x).numpy(), h * np.float32(0.125))


def test_its_gradient_is_itself() -> None:
    x, dy = (torch.randn(4, BLOCK, dtype=torch.float64) for _ in range(2))
    x.requires_grad_()
    (dx,) = torch.autograd.grad(hadamard(x), x, dy)
    assert torch.allclose(dx, hadamard(dy), atol=1e-13)


def test_other_widths_are_refused() -> None:
    with pytest.raises(ValueError, match=r"96 columns.*multiple of 64"):
        hadamard(torch.zeros(2, 96))
