"""WKV-7 by the compiled kernel (csrc/wkv7), as a PyTorch operator with its own backward.

Importing this module registers the operators `asnn_goose::wkv7` and `asnn_goose::wkv7_backward`;
running them needs the extension module.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

Gradients = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


def _addresses(*tensors: Tensor) -> tuple[Any, ...]:
    return tuple(x.data_ptr() for x in tensors)


@torch.library.custom_op("asnn_goose::wkv7", mutates_args=(), device_types="cpu")
def _wkv7(
    r_BTHN: Tensor,
    w_BTHN: Tensor,
    k_BTHN: Tensor,
    v_BTHN: Tensor,
    alpha_BTHN: Tensor,
    beta_BTHN: Tensor,
    state_BHNN: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs y (B,T,H,N), the final state, and p_t = S_{t-1} alpha_t (B,T,H,N) for backward."""
    from asnn_goose import _native

    inputs = [x.contiguous() for x in (r_BTHN, w_BTHN, k_BTHN, v_BTHN, alpha_BTHN, beta_BTHN)]
    state = state_BHNN.contiguous()
    y, p = torch.empty_like(inputs[0]), torch.empty_like(inputs[0])
    final = torch.empty_like(state)
    B, T, H, N = r_BTHN.shape
    _native.wkv7_forward(
        sizes=(B, T, H, N),
        inputs=_addresses(*inputs),
        state=state.data_ptr(),
        outputs=_addresses(y, p, final),
        threads=torch.get_num_threads(),
    )
    return y, final, p


@_wkv7.register_fake
def _(
    r_BTHN: Tensor,
    w_BTHN: Tensor,
    k_BTHN: Tensor,
    v_BTHN: Tensor,
    alpha_BTHN: Tensor,
    beta_BTHN: Tensor,
    state_BHNN: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    y = r_BTHN.new_empty(r_BTHN.shape)
    return y, state_BHNN.new_empty(state_BHNN.shape), torch.empty_like(y)


@torch.library.custom_op("asnn_goose::wkv7_backward", mutates_args=(), device_types="cpu")
def _wkv7_backward(
    r_BTHN: Tensor,
    w_BTHN: Tensor,
    k_BTHN: Tensor,
    v_BTHN: Tensor,
    alpha_BTHN: Tensor,
    beta_BTHN: Tensor,
    state_BHNN: Tensor,
    p_BTHN: Tensor,
    dy_BTHN: Tensor,
    dfinal_BHNN: Tensor,
) -> Gradients:
    """Gradients of the six sequences and of the initial state, in the order of the arguments."""
    from asnn_goose import _native

    inputs = [x.contiguous() for x in (r_BTHN, w_BTHN, k_BTHN, v_BTHN, alpha_BTHN, beta_BTHN)]
    state, p, dy, dfinal = (x.contiguous() for x in (state_BHNN, p_BTHN, dy_BTHN, dfinal_BHNN))
    gradients = [torch.empty_like(x) for x in (*inputs, state)]
    B, T, H, N = r_BTHN.shape
    _native.wkv7_backward(
        sizes=(B, T, H, N),
        inputs=_addresses(*inputs),
        state=state.data_ptr(),
        p=p.data_ptr(),
        gradients_in=_addresses(dy, dfinal),
        gradients_out=_addresses(*gradients),
        threads=torch.get_num_threads(),
    )
    dr, dw, dk, dv, dalpha, dbeta, dstate = gradients
    return dr, dw, dk, dv, dalpha, dbeta, dstate


@_wkv7_backward.register_fake
def _(
    r_BTHN: Tensor,
    w_BTHN: Tensor,
    k_BTHN: Tensor,
    v_BTHN: Tensor,
    alpha_BTHN: Tensor,
    beta_BTHN: Tensor,
    state_BHNN: Tensor,
    p_BTHN: Tensor,
    dy_BTHN: Tensor,
    dfinal_BHNN: Tensor,
) -> Gradients:
    dr, dw, dk, dv, dalpha, dbeta = (r_BTHN.new_empty(r_BTHN.shape) for _ in range(6))
    return dr, dw, dk, dv, dalpha, dbeta, state_BHNN.new_empty(state_BHNN.shape)


def _keep(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    _, _, p = output
    ctx.save_for_backward(*inputs, p)
    ctx.set_materialize_grads(True)


def _differentiate(ctx: Any, dy: Tensor, dfinal: Tensor, _dp: Tensor) -> Gradients:
    gradients: Gradients = _wkv7_backward(*ctx.saved_tensors, dy, dfinal)
    return gradients


_wkv7.register_autograd(_differentiate, setup_context=_keep)


def native(
    r_BTHN: Tensor,
    log_w_BTHN: Tensor,
    k_BTHN: Tensor,
    v_BTHN: Tensor,
    alpha_BTHN: Tensor,
    beta_BTHN: Tensor,
    state_BHNN: Tensor,
) -> tuple[Tensor, Tensor]:
    """Outputs (B,T,H,N) and the final state (B,H,N,N), fp32 on the CPU, N one of HEAD_SIZES.

    Runs on torch.get_num_threads() threads; the result does not depend on their number.
    """
    w_BTHN = log_w_BTHN.exp()
    y, final, _ = _wkv7(r_BTHN, w_BTHN, k_BTHN, v_BTHN, alpha_BTHN, beta_BTHN, state_BHNN)
    return y, final
