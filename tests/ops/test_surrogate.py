from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from asnn_goose.ops.surrogate import (
    SURROGATES,
    binary_spikes,
    in_units,
    superspike,
    surrogate,
    ternary_spikes,
)

SHAPES = {"rectangle": 0.8, "atan": 3.0, "superspike": 5.0, "learnable": 0.3}


def area(name: str, shape: float | None = None, *, reach: float = 4000.0) -> float:
    """Integral of h over -reach .. reach, finely near 0."""
    edges = torch.linspace(-1, 1, 400_001, dtype=torch.float64)
    edges = edges.sign() * edges.abs() ** 4 * reach
    values = surrogate(name, shape)((edges[1:] + edges[:-1]) / 2)
    return float((values * edges.diff()).sum())


def membranes() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(3, 5, 7, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("shape", [None, 0.5, 3.0])
@pytest.mark.parametrize("name", ["rectangle", "atan", "learnable"])
def test_the_area_is_that_of_a_jump(name: str, shape: float | None) -> None:
    assert area(name, shape) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("k", [2.0, 25.0])
def test_superspikes_area(k: float) -> None:
    # What lies beyond the reach is 2 / (k (1 + k reach)).
    assert area("superspike", k) == pytest.approx(2 / k, abs=1e-3)


def test_values_at_hand() -> None:
    u = torch.tensor([0.0, 0.5, -0.5, 2.0])
    assert superspike(u, 4.0).tolist() == pytest.approx([1, 1 / 9, 1 / 9, 1 / 81])
    quarter = 1 / (1 + math.pi**2 / 4)
    assert surrogate("atan")(u).tolist() == pytest.approx(
        [1, quarter, quarter, 1 / (1 + 4 * math.pi**2)]
    )
    assert surrogate("rectangle", 2.0)(u).tolist() == [0.5, 0.5, 0.5, 0]
    assert surrogate("rectangle")(u).tolist() == [1, 0, 0, 0]
    assert surrogate("superspike")(u).tolist() == pytest.approx([1, 1 / 4, 1 / 4, 1 / 25])
    assert surrogate("straight_through")(u).tolist() == [0.5] * 4
    assert surrogate("learnable")(u).tolist() == pytest.approx([1, 0, 0, 0])
    wide = surrogate("learnable", torch.tensor(math.log(math.expm1(4.0))))(u)
    assert wide.tolist() == pytest.approx([0.25, 0.25, 0.25, 0])


@pytest.mark.parametrize("name", SURROGATES)
def test_surrogates_are_even(name: str) -> None:
    h, u = surrogate(name, SHAPES.get(name)), membranes()
    assert torch.equal(h(u), h(-u))
    assert h(u).dtype == u.dtype
    assert (h(u) >= 0).all()


def test_units_keep_the_area() -> None:
    u = torch.linspace(-40, 40, 80_001, dtype=torch.float64)
    h = in_units(surrogate("rectangle"), torch.tensor(5.0, dtype=torch.float64))
    assert float(torch.trapezoid(h(u), u)) == pytest.approx(1, abs=1e-3)
    assert h(torch.tensor(2.0)) == pytest.approx(0.2)
    assert h(torch.tensor(3.0)) == 0


def test_spikes_are_where_they_should_be() -> None:
    v = torch.tensor([-2.0, -0.5, -0.4, 0.0, 0.4, 0.5, 2.0])
    h = surrogate("atan")
    assert ternary_spikes(v, 0.5, h).tolist() == [-1, 0, 0, 0, 0, 0, 1]
    assert ternary_spikes(v, 0.4, h).tolist() == [-1, -1, 0, 0, 0, 1, 1]
    assert binary_spikes(v, 0.4, h).tolist() == [0, 0, 0, 0, 0, 1, 1]
    assert ternary_spikes(v.bfloat16(), 0.5, h).dtype == torch.bfloat16


def test_ternary_spikes_are_odd() -> None:
    v, h = membranes(), surrogate("atan")
    spikes = ternary_spikes(v, 0.6, h)
    assert set(spikes.unique().tolist()) == {-1.0, 0.0, 1.0}
    assert torch.equal(ternary_spikes(-v, 0.6, h), -spikes)


@pytest.mark.parametrize("shape", [(), (1,), (7,), (5, 1), (3, 1, 7)])
@pytest.mark.parametrize("name", SURROGATES)
def test_gradients_against_their_formula(name: str, shape: tuple[int, ...]) -> None:
    h, v, dy = surrogate(name, SHAPES.get(name)), membranes().requires_grad_(), membranes() + 1
    theta = (0.5 + torch.rand(shape, dtype=torch.float64)).requires_grad_()
    dv, dtheta = torch.autograd.grad(ternary_spikes(v, theta, h), (v, theta), dy)
    above, below = h(v - theta).detach(), h(v + theta).detach()
    assert torch.equal(dv, dy * (above + below))
    assert torch.allclose(dtheta, (dy * (below - above)).sum_to_size(shape))
    dv, dtheta = torch.autograd.grad(binary_spikes(v, theta, h), (v, theta), dy)
    assert torch.equal(dv, dy * above)
    assert torch.allclose(dtheta, -(dy * above).sum_to_size(shape))


def test_a_raised_threshold_silences() -> None:
    # dtheta has the sign of what happens: fewer spikes, so the sum of s s* falls.
    v = torch.tensor([0.9, -0.9, 3.0], dtype=torch.float64)
    theta = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
    spikes = ternary_spikes(v, theta, surrogate("rectangle"))
    assert torch.autograd.grad((spikes * v.sign()).sum(), theta)[0] == -2


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ValueError, match="surrogate = 'step': choose one of straight_through,"):
        surrogate("step")
    with pytest.raises(ValueError, match=r"surrogate_shape = 0.0: must be above 0"):
        surrogate("atan", 0.0)
    with pytest.raises(ValueError, match=r"surrogate_shape = 2.0: straight_through has none"):
        surrogate("straight_through", 2.0)
