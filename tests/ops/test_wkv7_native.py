"""The compiled kernel: every instruction set, its bounds, its threads, and torch.compile."""

from __future__ import annotations

import pytest
import torch

from asnn_goose.ops import native_available, native_status
from asnn_goose.ops.wkv7 import wkv7

if not native_available():
    pytest.skip(native_status(), allow_module_level=True)

from asnn_goose import _native

FP32_ERROR = 1e-5
GUARD = 64
"""Floats before and after a buffer that must stay untouched."""


@pytest.mark.parametrize("N", [16, 48, 64, 128])
@pytest.mark.parametrize("T", [1, 32, 71])
@pytest.mark.usefixtures("isa")
def test_every_instruction_set_agrees_with_the_recurrence(T, N, operands, assert_close):
    exact = operands(B=1, T=T, H=2, N=N)
    got = exact.to(torch.float32).run(form="native")
    assert_close(got, exact.run(form="recurrent"), relative=FP32_ERROR)


def test_every_instruction_set_agrees_with_the_scalar_reference(
    isa, monkeypatch, operands, assert_close
):
    sample = operands(T=70, N=64).to(torch.float32)
    got = sample.run(form="native")
    monkeypatch.setenv("ASNN_GOOSE_ISA", "reference")
    assert_close(got, sample.run(form="native"), relative=1e-6)


class Guarded:
    """NaN everywhere, and a NaN margin around the part that the kernel owns."""

    def __init__(self, *shape: int) -> None:
        self.whole = torch.full((torch.Size(shape).numel() + 2 * GUARD,), torch.nan)
        self.owned = self.whole[GUARD:-GUARD]
        self.address = self.owned.data_ptr()

    def is_filled_exactly(self) -> bool:
        margins = torch.cat([self.whole[:GUARD], self.whole[-GUARD:]])
        return bool(self.owned.isfinite().all() and margins.isnan().all())


@pytest.mark.parametrize("N", [16, 48, 64, 128])
@pytest.mark.parametrize("T", [1, 31, 33])
@pytest.mark.usefixtures("isa")
def test_every_element_owned_is_written_and_no_other(T, N, operands):
    B, H = 2, 3
    sample = operands(B=B, T=T, H=H, N=N).to(torch.float32)
    *sequences, state = sample.inputs
    inputs = tuple(x.data_ptr() for x in sequences)
    y, p, final = Guarded(B, T, H, N), Guarded(B, T, H, N), Guarded(B, H, N, N)
    _native.wkv7_forward(
        sizes=(B, T, H, N),
        inputs=inputs,
        state=state.data_ptr(),
        outputs=(y.address, p.address, final.address),
        threads=2,
    )
    gradients = [*(Guarded(B, T, H, N) for _ in range(6)), Guarded(B, H, N, N)]
    _native.wkv7_backward(
        sizes=(B, T, H, N),
        inputs=inputs,
        state=state.data_ptr(),
        p=p.address,
        gradients_in=(sample.dy_BTHN.data_ptr(), sample.dfinal_BHNN.data_ptr()),
        gradients_out=tuple(x.address for x in gradients),
        threads=2,
    )
    assert all(x.is_filled_exactly() for x in (y, p, final, *gradients))


def test_number_of_threads_does_not_change_the_bits(operands):
    sample = operands(B=4, T=250, H=9, N=64).to(torch.float32)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = sample.run(form="native")
        torch.set_num_threads(3)
        together = sample.run(form="native")
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(alone[name], together[name]) for name in alone)


def test_auto_takes_the_kernel_where_it_fits(operands):
    sample = operands(T=40)
    exact, single = sample.inputs, sample.to(torch.float32).inputs
    assert torch.equal(wkv7(*single)[0], wkv7(*single, form="native")[0])
    assert torch.equal(wkv7(*exact)[0], wkv7(*exact, form="chunked")[0])
    odd = operands(T=40, N=24).to(torch.float32).inputs
    assert torch.equal(wkv7(*odd)[0], wkv7(*odd, form="chunked")[0])


def test_strided_views_are_read_correctly(operands, assert_close):
    exact = operands(T=20)
    strided = exact.to(torch.float32)
    strided = type(strided)(
        inputs=tuple(x.transpose(1, 2).contiguous().transpose(1, 2) for x in strided.inputs),
        dy_BTHN=strided.dy_BTHN.transpose(0, 1).contiguous().transpose(0, 1),
        dfinal_BHNN=strided.dfinal_BHNN,
    )
    assert_close(strided.run(form="native"), exact.run(form="recurrent"), relative=FP32_ERROR)


def test_gradient_arrives_through_the_final_state_alone(operands):
    *sequences, state = operands(T=20).inputs
    wanted = sequences[2].clone().requires_grad_()
    sequences[2] = wanted
    wkv7(*sequences, state, form="recurrent")[1].square().sum().backward()
    got = sequences[2].detach().float().requires_grad_()
    singles = [x.float() for x in sequences]
    singles[2] = got
    wkv7(*singles, state.float(), form="native")[1].square().sum().backward()
    torch.testing.assert_close(got.grad, wanted.grad.float(), rtol=1e-4, atol=1e-4)


def test_operator_is_registered_correctly(operands):
    *sequences, state = operands(T=5).to(torch.float32).inputs
    sequences[1] = sequences[1].exp()
    leaves = tuple(x.requires_grad_() for x in (*sequences, state))
    torch.library.opcheck(torch.ops.asnn_goose.wkv7.default, leaves)


def test_survives_compilation_as_one_graph(operands):
    sample = operands(T=20).to(torch.float32)
    compiled = torch.compile(wkv7, fullgraph=True, backend="aot_eager")
    got, want = sample.run(compiled), sample.run(form="native")
    for name, wanted in want.items():
        torch.testing.assert_close(got[name], wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("N", "dtype", "message"),
    [
        (16, torch.float64, "it computes in fp32, the inputs are torch.float64"),
        (24, torch.float32, "it takes head sizes 16, 32, 48, 64, 80, 96, 112, 128, not 24"),
    ],
)
def test_asking_for_the_kernel_where_it_does_not_fit_is_an_error(N, dtype, message, operands):
    with pytest.raises(ValueError, match=message):
        wkv7(*operands(T=2, N=N).to(dtype).inputs, form="native")


def test_unknown_instruction_set_is_named(monkeypatch, operands):
    monkeypatch.setenv("ASNN_GOOSE_ISA", "mmx")
    with pytest.raises(ValueError, match=r"ASNN_GOOSE_ISA is 'mmx', but .* offer: reference, b"):
        wkv7(*operands(T=2).to(torch.float32).inputs, form="native")
