"""All forms of wkv7 compute the recurrence of the paper, forwards and backwards."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from asnn_goose.ops import native_available, native_status
from asnn_goose.ops.wkv7 import wkv7

NATIVE = pytest.param(
    "native", marks=pytest.mark.skipif(not native_available(), reason=native_status())
)
FORMS = ["recurrent", "chunked", NATIVE]
FP32_ERROR = 1e-5


@pytest.mark.parametrize("T", [1, 5, 16, 17, 63, 64, 65, 100])
@pytest.mark.parametrize("form", FORMS)
def test_forms_agree_in_fp32_with_the_recurrence_in_fp64(form, T, operands, assert_close):
    exact = operands(T=T)
    got = exact.to(torch.float32).run(form=form)
    assert_close(got, exact.run(form="recurrent"), relative=FP32_ERROR)


@pytest.mark.parametrize("chunk", [1, 3, 16, 64, 200])
def test_chunked_form_is_exact_at_every_chunk_length(chunk, operands, assert_close):
    exact = operands(T=70, N=8)
    got = exact.run(form="chunked", chunk=chunk)
    assert_close(got, exact.run(form="recurrent"), relative=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_fp32_holds_at_the_fastest_decay(form, operands, assert_close):
    exact = operands(T=200)
    exact.inputs[1].fill_(-0.6065)
    got = exact.to(torch.float32).run(form=form)
    assert_close(got, exact.run(form="recurrent"), relative=FP32_ERROR)


@pytest.mark.parametrize("form", ["recurrent", "chunked"])
def test_gradients_agree_with_finite_differences(form, operands):
    leaves = [x.requires_grad_() for x in operands(B=1, T=5, H=1, N=2).inputs]
    assert torch.autograd.gradcheck(lambda *x: wkv7(*x, form=form, chunk=2), leaves)


@pytest.mark.parametrize("form", FORMS)
def test_two_parts_with_carried_state_are_one_pass(form, operands, assert_close):
    whole = operands(T=50).to(torch.float32)

    def in_two_parts(*inputs):
        *sequences, state = inputs
        first, state = wkv7(*(x[:, :23] for x in sequences), state, form=form)
        second, state = wkv7(*(x[:, 23:] for x in sequences), state, form=form)
        return torch.cat([first, second], dim=1), state

    assert_close(whole.run(in_two_parts), whole.run(form=form), relative=FP32_ERROR)


@pytest.mark.parametrize("form", FORMS)
def test_no_state_means_zeros(form, operands):
    *sequences, state = operands(T=7).to(torch.float32).inputs
    got, _ = wkv7(*sequences, form=form)
    want, _ = wkv7(*sequences, torch.zeros_like(state), form=form)
    torch.testing.assert_close(got, want, rtol=0, atol=0)


@pytest.mark.parametrize("form", FORMS)
def test_delta_net_is_a_special_case(form, operands):
    """w = 1, a = b, k = b kappa: S_t = S_{t-1} (I - b kappa kappa^T) + b v kappa^T."""
    B, T, H, N = 1, 40, 2, 16
    r, _, _, v, alpha, _, state = operands(B=B, T=T, H=H, N=N).to(torch.float32).inputs
    kappa = -alpha
    b = torch.rand(B, T, H, 1, generator=torch.Generator().manual_seed(1))
    y, final = wkv7(r, torch.zeros_like(r), b * kappa, v, alpha, b * kappa, state, form=form)
    for t in range(T):
        erase = torch.eye(N) - b[:, t, :, :, None] * kappa[:, t, :, :, None] * kappa[:, t, :, None]
        state = state @ erase + b[:, t, :, :, None] * v[:, t, :, :, None] * kappa[:, t, :, None]
        want = torch.einsum("bhvk,bhk->bhv", state, r[:, t])
        torch.testing.assert_close(y[:, t], want, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(final, state, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("operand", range(6))
@pytest.mark.parametrize("form", FORMS)
def test_no_output_sees_a_later_token(form, operand, operands):
    sequences = [x.clone() for x in operands(T=80).to(torch.float32).inputs[:-1]]
    before, _ = wkv7(*sequences, form=form)
    sequences[operand][:, 40] *= 0.5
    after, _ = wkv7(*sequences, form=form)
    torch.testing.assert_close(after[:, :40], before[:, :40], rtol=1e-4, atol=1e-5)
    assert (after[:, 40] - before[:, 40]).abs().amax() > 1e-3


@pytest.mark.parametrize("form", FORMS)
def test_repeated_runs_give_the_same_bits(form, operands):
    sample = operands(T=70).to(torch.float32)
    first, second = sample.run(form=form), sample.run(form=form)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("form", FORMS)
def test_half_precision_inputs_are_computed_in_fp32(form, operands):
    inputs = [x.bfloat16() for x in operands(T=70).inputs]
    want_y, want_final = wkv7(*(x.float() for x in inputs), form=form)
    with torch.autocast("cpu", torch.bfloat16):
        y, final = wkv7(*inputs, form=form)
    assert y.dtype == torch.bfloat16
    assert final.dtype == torch.float32
    assert torch.equal(y, want_y.bfloat16())
    assert torch.equal(final, want_final)


def test_agrees_with_an_independent_implementation(operands, assert_close):
    """rwkv7-hf (PyPI): decays as such, and states as [key, value]."""
    oracle = pytest.importorskip("rwkv7_hf.ops_rwkv7")

    def independent(r, log_w, k, v, alpha, beta, state):
        y, final = oracle.rwkv7_recurrent(
            r, log_w.exp(), k, v, alpha, beta, state.transpose(-1, -2)
        )
        return y, final.transpose(-1, -2)

    exact = operands(T=33)
    want = exact.run(independent)
    assert_close(exact.run(form="recurrent"), want, relative=1e-12)
    assert_close(exact.run(form="chunked"), want, relative=1e-12)
    assert_close(exact.to(torch.float32).run(), want, relative=FP32_ERROR)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"form": "fused"}, "'fused'; choose auto, recurrent, chunked, native or fla"),
        ({"chunk": 0}, "chunk is 0; it must be at least 1"),
    ],
)
def test_wrong_settings_are_named(settings, message, operands):
    with pytest.raises(ValueError, match=message):
        wkv7(*operands(T=3).inputs, **settings)


def test_shapes_that_do_not_fit_are_named(operands):
    *sequences, state = operands(B=2, T=3, H=2, N=16).inputs
    with pytest.raises(ValueError, match=r"state has shape \(2, 2, 16, 15\); wanted"):
        wkv7(*sequences, state[..., :-1])
    with pytest.raises(ValueError, match=r"wants \(B, T, H, N\) with T >= 1"):
        wkv7(*(x[:, :0] for x in sequences), state)
    sequences[3] = F.pad(sequences[3], (0, 1))
    with pytest.raises(ValueError, match=r"v has shape \(2, 3, 2, 17\); r has \(2, 3, 2, 16\)"):
        wkv7(*sequences, state)
