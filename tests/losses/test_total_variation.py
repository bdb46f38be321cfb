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


def test_it_is_tau_times_half_of_the_absolute_difference() -> None:
    a, b = torch.randn(2, 1, 6, dtype=torch.float64).unbind()
    for tau in (1.0, 2.0, 5.0):
        p, q = (torch.exp(z / tau) / torch.exp(z / tau).sum() for z in (a, b))
        wanted = tau * torch.maximum(p - q, torch.zeros(())).sum()
        found = TotalVariation(temperature=tau)(a, b, CHUNK)
        assert float(found) == pytest.approx(float(wanted), rel=1e-5)
