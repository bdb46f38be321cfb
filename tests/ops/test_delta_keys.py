"""Compiled keys of the delta rule: values and gradients of the plain formulas in fp64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from asnn_goose.ops.delta_keys import DeltaKeys, delta_keys

pytestmark = pytest.mark.usefixtures("isa")

LEAST = 1e-3


def drawn(heads: int, size: int) -> list[Tensor]:
    """Keys and rates of 2 x 5 tokens, removal and replacement; one key is nothing."""
    generator = torch.Generator().manual_seed(heads)
    k_BTHN = torch.randn(2, 5, heads, size, generator=generator)
    k_BTHN[0, 1, 0] = 0
    k_BTHN[1, 2, 0] *= 1e-6
    a_BTHN = torch.rand(2, 5, heads, size, generator=generator)
    vectors = torch.rand(2, heads, size, generator=generator) + 0.5
    return [k_BTHN, a_BTHN, *vectors]


def found(inputs: list[Tensor], outputs: tuple[int, ...]) -> tuple[DeltaKeys, list[Tensor | None]]:
    """Keys, and the gradients of some of their parts, each part weighed differently."""
    leaves = [x.clone().requires_grad_() for x in inputs]
    keys = delta_keys(*leaves, least=LEAST)
    generator = torch.Generator().manual_seed(7)
    weights = [torch.randn(keys.kappa.shape, generator=generator) for _ in keys]
    torch.stack([(keys[i] * weights[i]).sum() for i in outputs]).sum().backward()
    return keys, [x.grad for x in leaves]


@pytest.mark.parametrize(("heads", "size"), [(1, 16), (3, 64), (2, 48)])
@pytest.mark.parametrize("outputs", [(0, 1, 2, 3), (1, 2, 3), (0,), (3,)])
def test_keys_and_gradients_are_those_of_the_plain_formulas(
    heads: int, size: int, outputs: tuple[int, ...]
) -> None:
    inputs = drawn(heads, size)
    keys, gradients = found(inputs, outputs)
    plain, wanted = found([x.double() for x in inputs], outputs)
    for one, other in zip(keys, plain, strict=True):
        assert torch.allclose(one, other.float(), atol=1e-6)
    for one, other in zip(gradients, wanted, strict=True):
        assert one is not None
        expected = torch.zeros_like(one) if other is None else other.float()
        assert torch.allclose(one, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_keys_are_as_published(dtype: torch.dtype) -> None:
    k, a, removal, replacement = (x.to(dtype) for x in drawn(2, 16))
    keys = delta_keys(k, a, removal, replacement, least=LEAST)
    token = (0, 3, 1)
    direction = k[token] * removal[1]
    kappa = direction / direction.norm()
    assert torch.allclose(keys.kappa[token].to(dtype), kappa, atol=1e-6)
    assert torch.equal(keys.alpha, -keys.kappa)
    assert torch.allclose(keys.beta[token].to(dtype), kappa * a[token], atol=1e-6)
    assert torch.allclose(keys.written[token], k[token] * (1 - (1 - a[token]) * replacement[1]))
    assert (keys.kappa[0, 1, 0] == 0).all()


def test_without_vectors_the_key_is_as_it_is() -> None:
    k, a, *_ = drawn(1, 16)
    keys = delta_keys(k, a, None, None, least=LEAST)
    assert keys.written is k
    assert torch.allclose(keys.kappa[1, 4].norm(), torch.tensor(1.0))


def test_threads_change_nothing() -> None:
    before, results = torch.get_num_threads(), []
    inputs = [x.repeat(40, 4, 1, 1) if x.dim() == 4 else x for x in drawn(3, 64)]
    for threads in (1, 3):
        torch.set_num_threads(threads)
        keys, gradients = found(inputs, (0, 1, 2, 3))
        results.append([*keys, *(x for x in gradients if x is not None)])
    torch.set_num_threads(before)
    assert all(map(torch.equal, *results))
