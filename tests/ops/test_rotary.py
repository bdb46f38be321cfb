from __future__ import annotations

import pytest
import torch

from asnn_goose.ops.rotary import rotate


def test_products_depend_on_the_distance_alone() -> None:
    q, k = torch.randn(2, 1, 1, 1, 8, dtype=torch.float64).unbind()
    q, k = q.expand(1, 6, 1, 8), k.expand(1, 6, 1, 8)
    position = torch.arange(6)[None]
    products = []
    for shift in (0, 11):
        turned = [rotate(x, position + shift, theta=100.0)[0, :, 0] for x in (q, k)]
        products.append(turned[0] @ turned[1].T)
    assert torch.allclose(products[0], products[1], atol=1e-6)
    assert torch.allclose(products[0].diagonal(1), products[0][0, 1].expand(5), atol=1e-6)
    assert not torch.allclose(products[0][0, 1], products[0][0, 2])


def test_the_first_position_and_all_lengths_stay() -> None:
    x = torch.randn(1, 5, 2, 8)
    turned = rotate(x, torch.arange(5)[None], theta=10_000.0)
    assert torch.equal(turned[:, 0], x[:, 0])
    assert torch.allclose(turned.norm(dim=-1), x.norm(dim=-1), rtol=1e-5)


@pytest.mark.parametrize("channels", [0, 6, 16])
@pytest.mark.usefixtures("isa")
def test_the_compiled_turn_is_the_plain_one(channels: int) -> None:
    x = torch.randn(2, 7, 3, 40)
    slope, position = (
        torch.randn_like(x),
        torch.tensor([[0, 1, 2, 3, 0, 1, 2], [5] * 7]),
    )
    turned, gradients = [], []
    for dtype in (torch.float32, torch.float64):
        leaf = x.detach().to(dtype, copy=True).requires_grad_()
        turned.append(rotate(leaf, position, theta=50.0, channels=channels))
        (turned[-1] * slope.to(dtype)).sum().backward()
        gradients.append(leaf.grad)
    for one, other in (turned, gradients):
        assert one is not None
        assert other is not None
        assert torch.allclose(one, other.float(), atol=1e-5)
