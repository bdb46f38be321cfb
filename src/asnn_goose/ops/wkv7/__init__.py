"""WKV-7, the recurrence of RWKV-7 "Goose", in forms that give the same numbers.

recurrent  one token after the other: the formula itself, slow to train
chunked    matrix products over chunks of tokens, on any device
native     the compiled kernel: CPU, fp32
fla        flash-linear-attention's kernel where it is installed: CUDA, bf16 operands
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Literal

import torch
from torch import Tensor

from asnn_goose.ops.kernel_calls import obstacle_to_kernel, takes_kernel
from asnn_goose.ops.native_build import native_available
from asnn_goose.ops.wkv7.chunked import chunked
from asnn_goose.ops.wkv7.fla import fla, obstacle_to_fla
from asnn_goose.ops.wkv7.recurrent import recurrent

__all__ = ["Form", "wkv7"]

HEAD_SIZES = tuple(range(16, 129, 16))
"""Head sizes N that the compiled kernel is written for."""

# By name, as code that travels with a published student (export.modelling_code) leaves behind
# what is compiled, and may be loaded beside this package, which registers its operators once.
_native: Any = import_module("asnn_goose.ops.wkv7.native").native if native_available() else None

NAMES = ("r", "log_w", "k", "v", "alpha", "beta")
"""The sequences that every form takes, in this order."""

Form = Literal["auto", "recurrent", "chunked", "native", "fla"]


def _check(inputs: dict[str, Tensor], state_BHNN: Tensor | None, chunk: int) -> None:
    shape = inputs["r"].shape
    if len(shape) != 4 or shape[1] == 0:
        raise ValueError(f"r has shape {tuple(shape)}; wkv7 wants (B, T, H, N) with T >= 1")
    for name, x in inputs.items():
        if x.shape != shape:
            raise ValueError(f"{name} has shape {tuple(x.shape)}; r has {tuple(shape)}")
    B, _, H, N = shape
    if state_BHNN is not None and state_BHNN.shape != (B, H, N, N):
        raise ValueError(f"state has shape {tuple(state_BHNN.shape)}; wanted {(B, H, N, N)}")
    if chunk < 1:
        raise ValueError(f"chunk is {chunk}; it must be at least 1")


def _obstacle_to_native(r_BTHN: Tensor) -> str | None:
    """Why the compiled kernel cannot take these inputs, or None."""
    obstacle = obstacle_to_kernel(r_BTHN.device, _wide(r_BTHN))
    if obstacle is None and r_BTHN.shape[-1] not in HEAD_SIZES:
        return f"it takes head sizes {', '.join(map(str, HEAD_SIZES))}, not {r_BTHN.shape[-1]}"
    return obstacle


def _wide(r_BTHN: Tensor) -> torch.dtype:
    return torch.promote_types(r_BTHN.dtype, torch.float32)


def _chosen(form: Form, r_BTHN: Tensor) -> Form:
    if form in ("recurrent", "chunked"):
        return form
    if form not in ("auto", "native", "fla"):
        raise ValueError(f"form is {form!r}; choose auto, recurrent, chunked, native or fla")
    if form != "native":
        obstacle = obstacle_to_fla(r_BTHN)
        if obstacle is None:
            return "fla"
        if form == "fla":
            raise ValueError(f"form is 'fla', but it cannot be used: {obstacle}")
    if takes_kernel(form, _obstacle_to_native(r_BTHN), plain="recurrent"):
        return "native"
    return "recurrent" if r_BTHN.shape[1] == 1 else "chunked"


def wkv7(
    r_BTHN: Tensor,
    log_w_BTHN: Tensor,
    k_BTHN: Tensor,
    v_BTHN: Tensor,
    alpha_BTHN: Tensor,
    beta_BTHN: Tensor,
    state_BHNN: Tensor | None = None,
    *,
    form: Form = "auto",
    chunk: int = 64,
) -> tuple[Tensor, Tensor]:
    """Runs the state of every head over the tokens and reads it out after each.

    S_t = S_{t-1} diag(exp(log_w_t)) + (S_{t-1} alpha_t) beta_t^T + v_t k_t^T, y_t = S_t r_t: the
    generalised delta rule of RWKV-7 (Peng et al. 2025, arXiv 2503.14456, equations 17 and 18),
    with alpha = -kappa_hat and beta = a * kappa_hat. In RWKV-7 log w lies in (-0.607, 0).

    Args:
        r_BTHN, log_w_BTHN, k_BTHN, v_BTHN, alpha_BTHN, beta_BTHN: B sequences, T tokens, H heads
            of size N.
        state_BHNN: state before the first token, axes [value, key]; zeros if None.
        form: which implementation; "auto" takes the fastest one that fits the inputs.
        chunk: tokens per chunk of the chunked form.

    Returns:
        y (B,T,H,N) in the dtype of v, and the state after the last token (B,H,N,N). States and all
        arithmetic are fp32, or fp64 where r is fp64, autocast or not; fla has bf16 operands. Both
        are differentiable with respect to every tensor passed in.

    Raises:
        ValueError: shapes that do not fit, or a form that cannot take these inputs.
    """
    sequences = (r_BTHN, log_w_BTHN, k_BTHN, v_BTHN, alpha_BTHN, beta_BTHN)
    _check(dict(zip(NAMES, sequences, strict=True)), state_BHNN, chunk)
    form = _chosen(form, r_BTHN)
    B, _, H, N = r_BTHN.shape
    dtype = _wide(r_BTHN)
    if state_BHNN is None:
        state_BHNN = r_BTHN.new_zeros((B, H, N, N), dtype=dtype)
    r, log_w, k, v, alpha, beta, state = (x.to(dtype) for x in (*sequences, state_BHNN))
    with torch.autocast(r.device.type, enabled=False):
        if form == "native":
            y, final = _native(r, log_w, k, v, alpha, beta, state)
        elif form == "fla":
            y, final = fla(r, log_w, k, v, alpha, beta, state)
        elif form == "chunked":
            y, final = chunked(r, log_w, k, v, alpha, beta, state, chunk=chunk)
        else:
            y, final = recurrent(r, log_w, k, v, alpha, beta, state)
    return y.to(v_BTHN.dtype), final
