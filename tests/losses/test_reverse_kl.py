from __future__ import annotations

import pytest
import torch

from asnn_goose.losses.kinds import Chunk
from asnn_goose.losses.kl import KL
from asnn_goose.losses.reverse_kl import ReverseKL

CHUNK = Chunk(labels_n=torch.tensor([0]), mask_n=torch.tensor([True]), progress=0.0)


def test_it_is_the_forward_kl_with_sides_exchanged() -> None:
    a, b = torch.randn(2, 1, 6).unbind()
    reverse, forward = ReverseKL(temperature=2.0), KL(temperature=2.0)
    assert torch.allclose(reverse(a, b, CHUNK), forward(b, a, CHUNK), atol=1e-6)
    assert not torch.allclose(reverse(a, b, CHUNK), forward(a, b, CHUNK), rtol=1e-2)


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ValueError, match=r"temperature = -1\.0"):
        ReverseKL(temperature=-1.0)
