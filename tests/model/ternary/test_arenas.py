from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from asnn_goose.model.ternary import AbsMean, Arenas


def at(share: float, **settings: Any) -> Arenas:
    method = Arenas(7, 128, **settings)
    method.anneal(share)
    return method


def test_the_residual_falls_along_a_cosine() -> None:
    shares = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0)
    want = (1, 0.5 + 0.5**1.5, 0.5, 0.5 - 0.5**1.5, 0, 0, 0)
    assert [at(share).residual for share in shares] == pytest.approx(want)


def test_it_may_rise_first() -> None:
    residual = {s: at(s, warmup=0.2, until=0.6, strength=0.5).residual for s in (0, 0.1, 0.2, 0.4)}
    assert residual == pytest.approx({0: 0, 0.1: 0.25, 0.2: 0.5, 0.4: 0.25})


@pytest.mark.parametrize("planes", [1, 2])
def test_a_blend_goes_from_dense_to_ternary(planes: int, weight_OK: Tensor) -> None:
    ternary_OK = AbsMean(7, 128, planes=planes)(weight_OK)
    assert torch.equal(at(0.0, planes=planes)(weight_OK), weight_OK)
    half_OK = at(0.4, planes=planes)(weight_OK)
    assert torch.allclose(half_OK, (weight_OK + ternary_OK) / 2, atol=1e-6)
    assert torch.equal(at(0.8, planes=planes)(weight_OK), ternary_OK)


def test_the_published_form_adds(weight_OK: Tensor) -> None:
    ternary_OK = AbsMean(7, 128)(weight_OK)
    out_OK = at(0.4, form="add", strength=0.5)(weight_OK)
    assert torch.allclose(out_OK, ternary_OK + 0.25 * weight_OK, atol=1e-6)


def test_nothing_is_left_in_eval_mode(weight_OK: Tensor) -> None:
    method = at(0.1).eval()
    assert method.residual == 0
    assert torch.equal(method(weight_OK), AbsMean(7, 128)(weight_OK))


@pytest.mark.parametrize(("form", "factor"), [("blend", 1.0), ("add", 1.25)])
def test_gradients(form: str, factor: float, weight_OK: Tensor, g_OK: Tensor) -> None:
    weight_OK.requires_grad_()
    out_OK = at(0.4, form=form, strength=0.5)(weight_OK)
    (dweight_OK,) = torch.autograd.grad(out_OK, weight_OK, g_OK)
    assert torch.allclose(dweight_OK, factor * g_OK)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"form": "mul"}, "form = 'mul': must be 'blend' or 'add'"),
        ({"strength": 1.5}, "strength = 1.5: must be 0 to 1"),
        ({"until": 0.0}, "until = 0.0: must be above 0 and at most 1"),
        ({"warmup": 0.9}, "warmup = 0.9: must be 0 or more and below until = 0.8"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Arenas(8, 64, **settings)
