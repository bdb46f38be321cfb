from __future__ import annotations

import math

import pytest
import torch

from asnn_goose.losses.jsd import JSD
from asnn_goose.losses.kinds import Chunk
from asnn_goose.losses.kl import KL
from asnn_goose.losses.reverse_kl import ReverseKL

CHUNK = Chunk(labels_n=torch.tensor([0, 0]), mask_n=torch.tensor([True, True]), progress=0.0)


def test_it_is_at_most_log_2_at_one_half() -> None:
    far = torch.tensor([[40.0, -40.0], [3.0, 0.0]]), torch.tensor([[-40.0, 40.0], [0.0, 0.0]])
    found = JSD()(*far, CHUNK)
    assert float(found[0]) == pytest.approx(math.log(2), rel=1e-6)
    assert 0 < float(found[1]) < math.log(2)


def test_both_ends_are_kl_divergences() -> None:
    z, target = torch.randn(2, 2, 5, generator=torch.Generator().manual_seed(0)).unbind()
    small = JSD(beta=1e-3)(z, target, CHUNK) / 1e-3
    assert torch.allclose(small, KL()(z, target, CHUNK), rtol=0.02)
    large = JSD(beta=1 - 1e-3)(z, target, CHUNK) / 1e-3
    assert torch.allclose(large, ReverseKL()(z, target, CHUNK), rtol=0.02)


@pytest.mark.parametrize("beta", [0.0, 1.0, 1.5])
def test_wrong_settings_are_named(beta: float) -> None:
    with pytest.raises(ValueError, match=f"beta = {beta}"):
        JSD(beta=beta)
