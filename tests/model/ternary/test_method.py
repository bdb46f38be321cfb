"""Laws that every row of the table keeps, unasked."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from asnn_goose.model.ternary import TERNARY, TernaryMethod

CASES: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in TERNARY),
    *((name, {"granularity": "tensor"}) for name in ("twn", "ttq", "terdit", "lsq", "lsq_plus")),
    *((name, {"group": 32}) for name in ("absmean", "twn", "tervit", "tequila", "arenas", "cat_q")),
    *((name, {"planes": 2}) for name in ("absmean", "arenas")),
    ("absmean", {"planes": 2, "group": 32}),
    ("ttq", {"percentile": 0.4}),
    ("arenas", {"form": "add", "warmup": 0.1}),
]
EVERY = pytest.mark.parametrize(("name", "settings"), CASES)


def made(name: str, settings: dict[str, Any], weight_OK: Tensor) -> TernaryMethod:
    method = TERNARY[name](*weight_OK.shape, **settings)
    method.start_(weight_OK)
    return method


@EVERY
def test_the_finished_matrix_is_that_of_the_planes(
    name: str, settings: dict[str, Any], weight_OK: Tensor
) -> None:
    method = made(name, settings, weight_OK).eval()
    method.anneal(0.25)  # of no account in eval mode
    codes_POK, scale_PGO = planes = method.planes_of(weight_OK)
    assert torch.allclose(method(weight_OK), planes.dense(), rtol=1e-6, atol=0)
    assert codes_POK.shape == (method.planes, 7, 128)
    groups = 128 // (method.group or 128)
    assert scale_PGO.shape == (method.planes, groups, 7)
    assert set(codes_POK.unique().tolist()) == {-1.0, 0.0, 1.0}
    assert not any(x.requires_grad for x in planes)


@EVERY
def test_a_training_that_is_over_computes_the_finished_matrix(
    name: str, settings: dict[str, Any], weight_OK: Tensor
) -> None:
    method = made(name, settings, weight_OK)
    done = method(weight_OK)
    method.anneal(1.0)
    assert torch.equal(done, method(weight_OK))
    assert torch.equal(done, method.eval()(weight_OK))


@EVERY
def test_a_row_of_zeros_is_zero(name: str, settings: dict[str, Any], weight_OK: Tensor) -> None:
    method = made(name, settings, weight_OK)
    for share in (0.0, 0.3, 1.0):
        method.anneal(share)
        out_OK = method(weight_OK)
        assert out_OK.isfinite().all()
        assert out_OK[3].abs().max() == 0


@EVERY
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_gradient_reaches_the_weights_and_every_parameter(
    share: float, name: str, settings: dict[str, Any], weight_OK: Tensor, g_OK: Tensor
) -> None:
    method = made(name, settings, weight_OK)
    method.anneal(share)
    weight_OK.requires_grad_()
    method(weight_OK).backward(g_OK)
    for leaf in (weight_OK, *method.parameters()):
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()
        assert leaf.grad.abs().sum() > 0


@EVERY
@pytest.mark.parametrize("share", [0.3, 1.0])
def test_bf16_comes_back_and_fp32_is_inside(
    share: float, name: str, settings: dict[str, Any], weight_OK: Tensor
) -> None:
    narrow_OK = weight_OK.bfloat16()
    method = made(name, settings, narrow_OK)
    method.anneal(share)
    out_OK = method(narrow_OK)
    assert out_OK.dtype == torch.bfloat16
    assert torch.equal(out_OK, method(narrow_OK.float()).bfloat16())
    bias_O, exact_O = method.bias(narrow_OK), method.bias(narrow_OK.float())
    if bias_O is not None and exact_O is not None:
        assert torch.equal(bias_O, exact_O.bfloat16())
    assert method.planes_of(narrow_OK).scale_PGO.dtype == torch.float32


@EVERY
def test_a_method_that_was_narrowed_itself_still_works(
    name: str, settings: dict[str, Any], weight_OK: Tensor
) -> None:
    method = made(name, settings, weight_OK)
    exact_OK = method(weight_OK)
    close_OK = method.bfloat16()(weight_OK)
    assert close_OK.dtype == torch.float32
    assert (close_OK - exact_OK).norm() < 0.01 * exact_OK.norm()


@EVERY
def test_a_saved_method_says_the_same(
    name: str, settings: dict[str, Any], weight_OK: Tensor
) -> None:
    method = made(name, settings, weight_OK)
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.mul_(1.25)
    other = TERNARY[name](*weight_OK.shape, **settings)
    other.load_state_dict(method.state_dict())
    assert torch.equal(other(weight_OK), method(weight_OK))


@EVERY
def test_codes_do_not_depend_on_a_scale_of_the_weights(
    name: str, settings: dict[str, Any], weight_OK: Tensor
) -> None:
    one = made(name, settings, weight_OK).planes_of(weight_OK)
    other = made(name, settings, 4 * weight_OK).planes_of(4 * weight_OK)
    # The epsilon beside a mean, and the floor below a scale, do not scale with the weights.
    assert (one.codes_POK == other.codes_POK).float().mean() > 0.999
    alive_O = weight_OK.abs().amax(-1) > 0
    assert torch.allclose(4 * one.scale_PGO[..., alive_O], other.scale_PGO[..., alive_O], rtol=1e-3)


@pytest.mark.parametrize("name", TERNARY)
def test_settings_that_a_method_lacks_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="planes = 3: must be "):
        TERNARY[name](8, 64, planes=3)
    with pytest.raises(TypeError, match="temperature"):
        TERNARY[name](8, 64, temperature=1.0)  # type: ignore[call-arg]
    word = "divide the 64 columns" if TERNARY[name].groups_known else "be 0 for"
    with pytest.raises(ValueError, match=f"group = 48: must {word}"):
        TERNARY[name](8, 64, group=48)


@pytest.mark.parametrize("name", sorted(set(TERNARY) - {"absmean", "arenas"}))
def test_two_planes_only_where_they_mean_something(name: str) -> None:
    wrong = 1 if name == "ttq" else 2
    with pytest.raises(ValueError, match=f"planes = {wrong}: must be {3 - wrong} for "):
        TERNARY[name](8, 64, planes=wrong)


@pytest.mark.parametrize("name", ["twn", "ttq", "terdit", "lsq", "lsq_plus"])
def test_another_granularity_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="granularity = 'layer': must be 'row' or 'tensor'"):
        TERNARY[name](8, 64, granularity="layer")  # type: ignore[call-arg]


def test_a_share_beyond_the_stage_is_refused() -> None:
    method = TERNARY["arenas"](8, 64)
    assert method.share == 1
    with pytest.raises(ValueError, match=r"share = 1\.5: must be 0 to 1"):
        method.anneal(1.5)
    assert "share" not in method.state_dict()
