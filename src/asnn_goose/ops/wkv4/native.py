"""WKV-4 by the compiled kernel (csrc/wkv4), as a PyTorch operator with its own backward.

Importing this module registers the operators `asnn_goose::wkv4` and `asnn_goose::wkv4_backward`;
running them needs the extension module.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from asnn_goose.ops.kernel_calls import addresses, like

_INPUTS = "Tensor w, Tensor u, Tensor k, Tensor v, Tensor state, Tensor? marks"


def _outputs(
    w_C: Tensor, u_C: Tensor, k: Tensor, v: Tensor, state: Tensor, marks: Tensor | None
) -> tuple[Tensor, ...]:
    return like(k, state, k, k)


@torch.library.custom_op(
    "asnn_goose::wkv4",
    mutates_args=(),
    device_types="cpu",
    schema=f"({_INPUTS}) -> (Tensor, Tensor, Tensor, Tensor)",
)
def _wkv4(*inputs: Any) -> tuple[Tensor, ...]:
    """Outputs y (B,T,C), the last state, and q and d (B,T,C): the denominator is e^q d."""
    from asnn_goose import _native

    *given, marks = (None if x is None else x.contiguous() for x in inputs)
    y, last, q, d = _outputs(*inputs)
    B, T, C = y.shape
    _native.wkv4_forward(
        sizes=(B, T, C),
        inputs=addresses(*given),
        marks=addresses(marks)[0],
        outputs=addresses(y, q, d, last),
        threads=torch.get_num_threads(),
    )
    return y, last, q, d


def _gradients(
    w: Tensor, u: Tensor, k: Tensor, v: Tensor, state: Tensor, *others: Any
) -> tuple[Tensor, ...]:
    """Room for those of k and v, of w and u by sequence (B,C), and of the initial state."""
    by_sequence = k[:, 0]  # each sums up its own: several threads add to no number together
    return like(k, v, by_sequence, by_sequence, state)


@torch.library.custom_op(
    "asnn_goose::wkv4_backward",
    mutates_args=(),
    device_types="cpu",
    schema=f"({_INPUTS}, Tensor y, Tensor q, Tensor d, Tensor dy)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
)
def _wkv4_backward(*inputs: Any) -> tuple[Tensor, ...]:
    """Gradients of k, v, w and u by sequence (B,C), and of the initial state."""
    from asnn_goose import _native

    found = [None if x is None else x.contiguous() for x in inputs]
    gradients = _gradients(*inputs)
    B, T, C = inputs[2].shape
    _native.wkv4_backward(
        sizes=(B, T, C),
        inputs=addresses(*found[:5]),
        marks=addresses(found[5])[0],
        gradients_in=addresses(*found[6:]),
        gradients_out=addresses(*gradients),
        threads=torch.get_num_threads(),
    )
    return gradients


_wkv4.register_fake(_outputs)
_wkv4_backward.register_fake(_gradients)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
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
