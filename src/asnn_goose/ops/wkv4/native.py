"""WKV-4 by the compiled kernel (csrc/wkv4), as a PyTorch operator with its own backward.

Importing this module registers the operators `asnn_goose::wkv4` and `asnn_goose::wkv4_backward`;
running them needs the extension module.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def _addresses(*tensors: Tensor) -> tuple[Any, ...]:
    return tuple(x.data_ptr() for x in tensors)


@torch.library.custom_op("asnn_goose::wkv4", mutates_args=(), device_types="cpu")
def _wkv4(
    w_C: Tensor,
    u_C: Tensor,
    k_BTC: Tensor,
    v_BTC: Tensor,
    state_B3C: Tensor,
    marks_BT: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Outputs y (B,T,C), the last state, and q and d (B,T,C): the denominator is e^q d."""
    from asnn_goose import _native

    inputs = [x.contiguous() for x in (w_C, u_C, k_BTC, v_BTC, state_B3C)]
    y, q, d = (torch.empty_like(inputs[2]) for _ in range(3))
    last = torch.empty_like(inputs[4])
    marks = None if marks_BT is None else marks_BT.contiguous()
    B, T, C = k_BTC.shape
    _native.wkv4_forward(
        sizes=(B, T, C),
        inputs=_addresses(*inputs),
        marks=0 if marks is None else marks.data_ptr(),
        outputs=_addresses(y, q, d, last),
        threads=torch.get_num_threads(),
    )
    return y, last, q, d


@_wkv4.register_fake
def _(
    w_C: Tensor,
    u_C: Tensor,
    k_BTC: Tensor,
    v_BTC: Tensor,
    state_B3C: Tensor,
    marks_BT: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    y, q, d = (k_BTC.new_empty(k_BTC.shape) for _ in range(3))
    return y, state_B3C.new_empty(state_B3C.shape), q, d


@torch.library.custom_op("asnn_goose::wkv4_backward", mutates_args=(), device_types="cpu")
def _wkv4_backward(
    w_C: Tensor,
    u_C: Tensor,
    k_BTC: Tensor,
    v_BTC: Tensor,
    state_B3C: Tensor,
    marks_BT: Tensor | None,
    y_BTC: Tensor,
    q_BTC: Tensor,
    d_BTC: Tensor,
    dy_BTC: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of k, v, w and u by sequence (B,C), and of the initial state."""
    from asnn_goose import _native

    inputs = [x.contiguous() for x in (w_C, u_C, k_BTC, v_BTC, state_B3C)]
    given = [x.contiguous() for x in (y_BTC, q_BTC, d_BTC, dy_BTC)]
    marks = None if marks_BT is None else marks_BT.contiguous()
    B, T, C = k_BTC.shape
    dk, dv = torch.empty_like(given[0]), torch.empty_like(given[0])
    dw, du = given[0].new_empty(B, C), given[0].new_empty(B, C)
    dstate = torch.empty_like(inputs[4])
    _native.wkv4_backward(
        sizes=(B, T, C),
        inputs=_addresses(*inputs),
        marks=0 if marks is None else marks.data_ptr(),
        gradients_in=_addresses(*given),
        gradients_out=_addresses(dk, dv, dw, du, dstate),
        threads=torch.get_num_threads(),
    )
    return dk, dv, dw, du, dstate


@_wkv4_backward.register_fake
def _(
    w_C: Tensor,
    u_C: Tensor,
    k_BTC: Tensor,
    v_BTC: Tensor,
    state_B3C: Tensor,
    marks_BT: Tensor | None,
    y_BTC: Tensor,
    q_BTC: Tensor,
    d_BTC: Tensor,
    dy_BTC: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    B, _, C = k_BTC.shape
    dk, dv = k_BTC.new_empty(k_BTC.shape), k_BTC.new_empty(k_BTC.shape)
    dw, du = k_BTC.new_empty(B, C), k_BTC.new_empty(B, C)
    return dk, dv, dw, du, state_B3C.new_empty(state_B3C.shape)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
    y, _, q, d = output
    ctx.save_for_backward(*inputs, y, q, d)
    ctx.set_materialize_grads(True)


def _differentiate(
    ctx: Any, dy: Tensor, _dlast: Tensor, _dq: Tensor, _dd: Tensor
) -> tuple[Tensor | None, ...]:
    dk, dv, dw, du, dstate = _wkv4_backward(*ctx.saved_tensors, dy)
    return dw.sum(0), du.sum(0), dk, dv, dstate, None


_wkv4.register_autograd(_differentiate, setup_context=_keep)


def native(
    w_C: Tensor,
    u_C: Tensor,
    k_BTC: Tensor,
    v_BTC: Tensor,
    state_B3C: Tensor,
    *,
    marks_BT: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Outputs (B,T,C) and the last state (B,3,C), fp32 on the CPU.

    Runs on torch.get_num_threads() threads; the result does not depend on their number.
    """
    y, last, _, _ = _wkv4(w_C, u_C, k_BTC, v_BTC, state_B3C, marks_BT)
    return y, last
