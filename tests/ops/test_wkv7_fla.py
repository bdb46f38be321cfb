"""The adapter to flash-linear-attention, against a stand-in for it: no GPU is needed."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType

import pytest
import torch

from asnn_goose.ops.wkv7 import wkv7
from asnn_goose.ops.wkv7.fla import fla, obstacle_to_fla


@pytest.fixture
def calls(monkeypatch):
    """Put a stand-in where `fla` would be; it keeps its arguments and runs the recurrence."""
    kept = []

    def chunk_dplr_delta_rule(
        q, k, v, a, b, gk, scale=None, initial_state=None, output_final_state=False
    ):
        kept.append(dict(locals()))
        scale = k.shape[-1] ** -0.5 if scale is None else scale
        y, final = wkv7(
            q.float() * scale, gk, k.float(), v.float(), a.float(), b.float(),
            initial_state.transpose(-1, -2), form="recurrent",
        )  # fmt: skip
        return y.to(q.dtype), final.transpose(-1, -2) if output_final_state else None

    module = ModuleType("fla.ops.generalized_delta_rule")
    module.chunk_dplr_delta_rule = chunk_dplr_delta_rule
    for name in ("fla", "fla.ops"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return kept


@pytest.mark.usefixtures("calls")
def test_results_are_those_of_the_other_forms_up_to_bf16(operands, assert_close):
    exact = operands(B=2, T=9, H=3, N=16)
    rounded = type(exact)(
        inputs=tuple(
            x if name in ("log_w", "state") else x.bfloat16().double()
            for name, x in zip(
                ("r", "log_w", "k", "v", "a", "b", "state"), exact.inputs, strict=True
            )
        ),
        dy_BTHN=exact.dy_BTHN,
        dfinal_BHNN=exact.dfinal_BHNN,
    )
    want = rounded.run(form="recurrent")
    assert_close(rounded.to(torch.float32).run(fla), want, relative=1e-2)


def test_arguments_and_state_are_handed_over_as_the_library_wants(operands, calls):
    r, log_w, k, v, alpha, beta, state = operands(B=2, T=5, H=3, N=16).to(torch.float32).inputs
    y, final = fla(r, log_w, k, v, alpha, beta, state)
    [call] = calls
    for name, x in {"q": r, "k": k, "v": v, "a": alpha, "b": beta}.items():
        assert torch.equal(call[name], x.bfloat16())
        assert call[name].is_contiguous()
    assert torch.equal(call["gk"], log_w)
    assert call["scale"] == 1.0
    assert call["output_final_state"]
    assert torch.equal(call["initial_state"], state.transpose(-1, -2))
    assert call["initial_state"].is_contiguous()
    assert (y.shape, y.dtype) == (v.shape, v.dtype)
    assert (final.shape, final.dtype) == (state.shape, torch.float32)


def test_final_state_has_axes_value_key(calls):
    """From a state of zeros one token leaves v k^T."""
    r, log_w, k, v, alpha, beta = (torch.zeros(1, 1, 1, 16) for _ in range(6))
    v[..., 2], k[..., 5] = 3.0, 1.0
    _, final = fla(r, log_w, k, v, alpha, beta, torch.zeros(1, 1, 16, 16))
    assert final[0, 0, 2, 5] == 3.0
    assert final.count_nonzero() == 1
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("device", "dtype", "installed", "obstacle"),
    [
        ("cpu", torch.float32, True, "it runs on CUDA, the inputs are on cpu"),
        ("cuda", torch.float64, True, "the inputs are fp64"),
        ("cuda", torch.float32, False, "fla is not installed: pip install flash-linear-attention"),
        ("cuda", torch.float32, True, None),
    ],
)
def test_it_is_taken_for_cuda_alone(device, dtype, installed, obstacle, monkeypatch):
    class Inputs:
        pass

    inputs = Inputs()
    inputs.device, inputs.dtype = torch.device(device), dtype
    adapter = import_module("asnn_goose.ops.wkv7.fla")
    monkeypatch.setattr(adapter, "find_spec", lambda name: object() if installed else None)
    found = obstacle_to_fla(inputs)
    assert found == obstacle if obstacle is None else obstacle in found
