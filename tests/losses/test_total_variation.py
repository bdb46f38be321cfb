from __future__ import annotations

import pytest
import torch

from asnn_goose.losses.kinds import Chunk
from asnn_goose.losses.total_variation import TotalVariation

CHUNK = Chunk(labels_n=torch.tensor([0]), mask_n=torch.tensor([True]), progress=0.0)


def test_it_is_at_most_1() -> None:
    far = torch.tensor([[90.0, -90.0]]), torch.tensor([[-90.0, 90.0]])
    assert float(TotalVariation()(*far, CHUNK)) == pytest.approx(1.0)


def test_it_is_symmetric() -> None:
    a, b = torch.randn(2, 1, 6).unbind()
    loss = TotalVariation(temperature=2.0)
    assert torch.allclose(loss(a, b, CHUNK), loss(b, a, CHUNK))
