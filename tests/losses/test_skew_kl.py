from __future__ import annotations

import math

import pytest
import torch

from asnn_goose.losses.kinds import Chunk
from asnn_goose.losses.kl import KL
from asnn_goose.losses.reverse_kl import ReverseKL
from asnn_goose.losses.skew_kl import SkewKL, SkewReverseKL

CHUNK = Chunk(labels_n=torch.tensor([0]), mask_n=torch.tensor([True]), progress=0.0)


@pytest.mark.parametrize(("skewed", "plain"), [(SkewKL, KL), (SkewReverseKL, ReverseKL)])
def test_without_skew_it_is_the_plain_divergence(
    skewed: type[SkewKL | SkewReverseKL], plain: type[KL | ReverseKL]
) -> None:
    z, target = torch.randn(2, 1, 6).unbind()
    assert torch.allclose(skewed(alpha=0.0)(z, target, CHUNK), plain()(z, target, CHUNK))


@pytest.mark.parametrize("skewed", [SkewKL, SkewReverseKL])
def test_it_is_at_most_minus_log_alpha(skewed: type[SkewKL | SkewReverseKL]) -> None:
    far = torch.tensor([[90.0, -90.0]]), torch.tensor([[-90.0, 90.0]])
    assert float(skewed()(*far, CHUNK)) == pytest.approx(-math.log(0.1), rel=1e-5)


@pytest.mark.parametrize("skewed", [SkewKL, SkewReverseKL])
def test_wrong_settings_are_named(skewed: type[SkewKL | SkewReverseKL]) -> None:
    with pytest.raises(ValueError, match=r"alpha = 1\.0"):
        skewed(alpha=1.0)
