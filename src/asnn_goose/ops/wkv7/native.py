"""WKV-7 by the compiled kernel (csrc/wkv7), as a PyTorch operator with its own backward.

Importing this module registers the operators `asnn_goose::wkv7` and `asnn_goose::wkv7_backward`;
running them needs the extension module. They are operators, and not functions of autograd alone,
for torch.compile to see a whole mixer as one graph.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from asnn_goose.ops.kernel_calls import addresses, like

_INPUTS = "Tensor r, Tensor w, Tensor k, Tensor v, Tensor alpha, Tensor beta, Tensor state"
_GRADIENTS = ", ".join(["Tensor"] * 7)


def _outputs(*inputs: Tensor) -> tuple[Tensor, ...]:
    return like(inputs[0], inputs[6], inputs[0])


@torch.library.custom_op(
    "asnn_goose::wkv7",
    mutates_args=(),
    device_types="cpu",
    schema=f"({_INPUTS}) -> (Tensor, Tensor, Tensor)",
)
def _wkv7(*inputs: Tensor) -> tuple[Tensor, ...]:
    """Outputs y (B,T,H,N), the final state, and p_t = S_{t-1} alpha_t (B,T,H,N) for backward."""
    from asnn_goose import _native

    *sequences, state = (x.contiguous() for x in inputs)
    y, final, p = _outputs(*inputs)
    B, T, H, N = y.shape
    _native.wkv7_forward(
        sizes=(B, T, H, N),
        inputs=addresses(*sequences),
        state=state.data_ptr(),
        outputs=addresses(y, p, final),
        threads=torch.get_num_threads(),
    )
    return y, final, p


@torch.library.custom_op(
    "asnn_goose::wkv7_backward",
    mutates_args=(),
    device_types="cpu",
    schema=f"({_INPUTS}, Tensor p, Tensor dy, Tensor dfinal) -> ({_GRADIENTS})",
)
def _wkv7_backward(*inputs: Tensor) -> tuple[Tensor, ...]:
    """Gradients of the six sequences and of the initial state, in the order of the arguments."""
    from asnn_goose import _native

    *sequences, state, p, dy, dfinal = (x.contiguous() for x in inputs)
    gradients = like(*inputs[:7])
    B, T, H, N = dy.shape
    _native.wkv7_backward(
        sizes=(B, T, H, N),
        inputs=addresses(*sequences),
        state=state.data_ptr(),
        p=p.data_ptr(),
        gradients_in=addresses(dy, dfinal),
        gradients_out=addresses(*gradients),
        threads=torch.get_num_threads(),
    )
    return gradients


_wkv7.register_fake(_outputs)
_wkv7_backward.register_fake(lambda *inputs: like(*inputs[:7]))


def _keep(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*inputs, output[2])
    ctx.set_materialize_grads(True)


def _differentiate(ctx: Any, dy: Tensor, dfinal: Tensor, _dp: Tensor) -> tuple[Tensor, ...]:
    return cast(tuple[Tensor, ...], _wkv7_backward(*ctx.saved_tensors, dy, dfinal))


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
