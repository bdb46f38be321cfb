"""WKV-4, the recurrence of RWKV-4, in forms that give the same numbers.

recurrent  one token after the other: the formula itself, on any device
native     the compiled kernel: CPU, fp32
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from asnn_goose.ops.kernel_calls import obstacle_to_kernel, takes_kernel
from asnn_goose.ops.wkv4.native import native
from asnn_goose.ops.wkv4.recurrent import EMPTY, recurrent

__all__ = ["EMPTY", "Form", "empty_state", "wkv4"]

Form = Literal["auto", "recurrent", "native"]


def empty_state(k_BTC: Tensor) -> Tensor:
    """The state (B,3,C) before any token: a = b = 0 and an exponent of EMPTY."""
    state_B3C = k_BTC.new_zeros(k_BTC.shape[0], 3, k_BTC.shape[2], dtype=_wide(k_BTC))
    state_B3C[:, 2] = EMPTY
    return state_B3C


def wkv4(
    w_C: Tensor,
    u_C: Tensor,
    k_BTC: Tensor,
    v_BTC: Tensor,
    state_B3C: Tensor | None = None,
    *,
    marks_BT: Tensor | None = None,
    form: Form = "auto",
) -> tuple[Tensor, Tensor]:
    """Every channel's decaying softmax average over its past (arXiv 2305.13048, equation 16).

    y_t = (sum_{i<t} e^{-(t-1-i)w + k_i} v_i + e^{u + k_t} v_t) / (the same sum without v).

    Args:
        w_C: rate of decay, above 0.
        u_C: bonus of the token itself.
        k_BTC, v_BTC: B sequences of T tokens in C channels.
        state_B3C: a, b and p with numerator e^p a and denominator e^p b of the tokens before;
            `empty_state` if None.
        marks_BT: `ops.documents.token_marks`; at padding y is 0 and the state stays.
        form: which implementation; "auto" takes the fastest one that fits the inputs.

    Returns:
        y (B,T,C) in the dtype of v, and the state after the last token, in fp32, or fp64 where k
        is fp64. All inputs have gradients; none goes through the state that is returned.

    Raises:
        ValueError: shapes that do not fit, or a form that cannot take these inputs.
    """
    _check(w_C, u_C, k_BTC, v_BTC, state_B3C)
    state_B3C = empty_state(k_BTC) if state_B3C is None else state_B3C
    wide = _wide(k_BTC)
    obstacle = obstacle_to_kernel(k_BTC.device, wide)
    run = native if takes_kernel(form, obstacle, plain="recurrent") else recurrent
    with torch.autocast(k_BTC.device.type, enabled=False):
        operands = (x.to(wide) for x in (w_C, u_C, k_BTC, v_BTC, state_B3C))
        y_BTC, last_B3C = run(*operands, marks_BT=marks_BT)
    return y_BTC.to(v_BTC.dtype), last_B3C.detach()


def _wide(k_BTC: Tensor) -> torch.dtype:
    return torch.promote_types(k_BTC.dtype, torch.float32)


def _check(w_C: Tensor, u_C: Tensor, k: Tensor, v: Tensor, state: Tensor | None) -> None:
    if k.dim() != 3 or k.shape[1] == 0 or v.shape != k.shape:
        raise ValueError(
            f"k has shape {tuple(k.shape)}, v {tuple(v.shape)}; wkv4 wants (B, T, C) with T >= 1"
        )
    B, _, C = k.shape
    if w_C.shape != (C,) or u_C.shape != (C,):
        raise ValueError(f"w has shape {tuple(w_C.shape)}, u {tuple(u_C.shape)}; wanted ({C},)")
    if state is not None and state.shape != (B, 3, C):
        raise ValueError(f"state has shape {tuple(state.shape)}; wanted {(B, 3, C)}")
