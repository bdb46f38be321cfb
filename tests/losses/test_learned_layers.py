from __future__ import annotations

import pytest
import torch
from torch import Tensor

from asnn_goose.losses.learned_layers import LearnedLayers
from asnn_goose.trace import Trace


def layers(count: int, *, width: int = 3) -> list[Tensor]:
    return list(torch.randn(count, 5, width, generator=torch.Generator().manual_seed(1)))


def gated() -> LearnedLayers:
    learned = LearnedLayers(frozen_after=0.1)
    learned.meet(Trace(width=3))
    with torch.no_grad():
        learned.weight.copy_(torch.linspace(-1, 1, 6))
        learned.bias.fill_(0.3)
    return learned


def test_targets_follow_the_gates() -> None:
    h, learned = layers(5), gated()
    targets = learned(h, 2, 0.0)

    def gate(z: Tensor, x: Tensor) -> Tensor:
        return torch.sigmoid(torch.cat([z, x], -1) @ learned.weight + learned.bias)[:, None]

    z = h[0]
    for x in h[1:3]:
        z = gate(z, x) * z + (1 - gate(z, x)) * x
    assert torch.allclose(targets[0], z, atol=1e-6)
    assert torch.allclose(targets[1], gate(h[3], h[4]) * h[3] + (1 - gate(h[3], h[4])) * h[4])


def test_no_layer_is_skipped_and_none_is_shared() -> None:
    h = [x.requires_grad_() for x in layers(7)]
    targets = gated()(h, 3, 0.0)
    reached = [
        [
            g is not None and bool(g.any())
            for g in torch.autograd.grad(z.sum(), h, allow_unused=True, retain_graph=True)
        ]
        for z in targets
    ]
    assert [sum(column) for column in zip(*reached, strict=True)] == [1] * 7


def test_equal_depths_leave_the_layers_as_they_are() -> None:
    h = layers(4)
    assert all(torch.equal(z, x) for z, x in zip(gated()(h, 4, 0.0), h, strict=True))


def test_gates_train_while_young_and_then_stand_still() -> None:
    learned, h = gated(), layers(4)
    young = learned(h, 2, 0.09)
    old = learned(h, 2, 0.1)
    assert all(z.requires_grad for z in young)
    assert not any(z.requires_grad for z in old)
    assert all(torch.equal(a, b) for a, b in zip(young, old, strict=True))


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ValueError, match="a teacher of width 0: the teacher has 2 blocks"):
        LearnedLayers(frozen_after=0.1)(layers(2), 1, 0.0)
    with pytest.raises(ValueError, match=r"frozen_after = 1\.5"):
        LearnedLayers(frozen_after=1.5)
    with pytest.raises(ValueError, match="teacher has 2 blocks of width 3"):
        gated()(layers(2), 3, 0.0)
    with pytest.raises(ValueError, match=r"teacher of width 3.*of width 4"):
        gated()(layers(3, width=4), 3, 0.0)
