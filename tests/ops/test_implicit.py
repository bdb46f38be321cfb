"""Implicit gradients are those of the unrolled network, and what does not settle is said."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from asnn_goose.ops.implicit import NotSettledError, replaced, settled, solve

D = 12


def network(radius: float, *, seed: int = 0) -> tuple[Callable[[Tensor], Tensor], list[Tensor]]:
    """a -> clamp(W a + x, 0, 1) with W of a spectral norm; and what it depends on."""
    generator = torch.Generator().manual_seed(seed)
    w_DD = torch.randn(D, D, generator=generator, dtype=torch.float64)
    w_DD = (radius * w_DD / torch.linalg.matrix_norm(w_DD, 2)).requires_grad_()
    x_D = torch.rand(D, generator=generator, dtype=torch.float64).requires_grad_()
    return (lambda a_D: torch.clamp(w_DD @ a_D + x_D, 0, 1)), [w_DD, x_D]


@pytest.mark.parametrize("radius", [0.3, 0.8])
def test_the_implicit_gradient_is_that_of_two_hundred_unrolled_steps(radius: float) -> None:
    f, parameters = network(radius)
    pull_D = torch.linspace(-1, 2, D, dtype=torch.float64)
    a_D = torch.zeros(D, dtype=torch.float64)
    for _ in range(200):
        a_D = f(a_D)
    wanted = torch.autograd.grad((pull_D * a_D).square().sum(), parameters)
    found_D = settled(f, torch.zeros(D, dtype=torch.float64), tolerance=1e-9)
    torch.testing.assert_close(found_D, a_D, atol=1e-8, rtol=0)
    found = torch.autograd.grad((pull_D * found_D).square().sum(), parameters)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)
    plain = torch.autograd.grad((pull_D * f(a_D.detach())).square().sum(), parameters)
    assert not torch.allclose(plain[1], wanted[1], rtol=1e-2), "the adjoint does nothing here"


def test_without_feedback_it_is_plain_back_propagation_to_the_bit() -> None:
    f, parameters = network(0.5)
    start_D = torch.rand(D, dtype=torch.float64)
    one, other = settled(f, start_D, feedback=False), f(start_D)
    assert one.equal(other)
    for a, b in zip(
        torch.autograd.grad(one.square().sum(), parameters),
        torch.autograd.grad(other.square().sum(), parameters),
        strict=True,
    ):
        assert a.equal(b)


@pytest.mark.parametrize("shift", ["one", "more"])
def test_what_does_not_settle_is_named_and_given_to_nobody(shift: str) -> None:
    generator = torch.Generator().manual_seed(1)
    turned_KK = torch.linalg.qr(torch.randn(60, 60, generator=generator, dtype=torch.float64)).Q
    b_K = torch.ones(60, dtype=torch.float64)

    def f(a_K: Tensor) -> Tensor:
        return a_K + b_K if shift == "one" else 1.5 * turned_KK @ a_K + b_K

    with pytest.raises(NotSettledError, match=r"no fixed point: a residual of .* 30 iterations"):
        solve(f, torch.zeros(60, dtype=torch.float64))
    with pytest.raises(NotSettledError):
        solve(lambda a_K: a_K * torch.nan, b_K)


def test_an_adjoint_that_does_not_settle_stops_the_backward_pass() -> None:
    """A map that is flat where its values are found, and steep to the adjoint."""

    class Steep(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, a: Tensor) -> Tensor:
            return torch.ones_like(a)

        @staticmethod
        def backward(ctx: object, *slopes: Tensor) -> Tensor:
            return slopes[0]

    x_D = torch.ones(D, dtype=torch.float64, requires_grad=True)
    found_D = settled(lambda a_D: Steep.apply(a_D) * x_D, torch.zeros(D, dtype=torch.float64))
    with pytest.raises(NotSettledError):
        found_D.sum().backward()


def test_no_gradient_is_made_where_none_is_wanted() -> None:
    f, _ = network(0.5)
    with torch.no_grad():
        found_D = settled(f, torch.zeros(D, dtype=torch.float64))
    assert not found_D.requires_grad
    torch.testing.assert_close(f(found_D), found_D, atol=1e-6, rtol=0)


def test_a_replaced_value_keeps_the_formula_s_gradient() -> None:
    star = torch.tensor([0.25, 0.5], requires_grad=True)
    measured = torch.tensor([0.2, 0.6], requires_grad=True)
    found = replaced(2 * star, measured)
    assert found.equal(measured)
    found.square().sum().backward()
    assert star.grad is not None
    torch.testing.assert_close(star.grad, 2 * 2 * measured.detach())
    assert measured.grad is None
