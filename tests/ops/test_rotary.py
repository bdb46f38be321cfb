from __future__ import annotations

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
