"""WKV-7 by the Triton kernels of flash-linear-attention, on CUDA where `fla` is installed.

A thin adapter that cannot be run where there is no CUDA device: its test checks, against a
stand-in for the library, that arguments and state are handed over as the library documents them,
and no number has been compared on a GPU.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

import torch
from torch import Tensor

_MODULE = "fla.ops.generalized_delta_rule"


def obstacle_to_fla(r_BTHN: Tensor) -> str | None:
    """Why these inputs cannot go to flash-linear-attention, or None."""
    if r_BTHN.device.type != "cuda":
        return f"it runs on CUDA, the inputs are on {r_BTHN.device}"
    if r_BTHN.dtype == torch.float64:
        return "it computes in bf16 and fp32, the inputs are fp64"
    if find_spec("fla") is None:
        return "fla is not installed: pip install flash-linear-attention"
    return None


def fla(
    r_BTHN: Tensor,
    log_w_BTHN: Tensor,
    k_BTHN: Tensor,
    v_BTHN: Tensor,
    alpha_BTHN: Tensor,
    beta_BTHN: Tensor,
    state_BHNN: Tensor,
) -> tuple[Tensor, Tensor]:
    """Outputs (B,T,H,N) in the dtype of v and the final state (B,H,N,N) in fp32.

    The generalised delta rule of `chunk_dplr_delta_rule` with q = r, gk = log w, a = alpha,
    b = beta and no scaling (arXiv 2503.14456, equation 17). `chunk_rwkv7` wraps the same kernel,
    but the order of its arguments and the meaning of its `w` differ between releases. The library
    keeps states as [key, value]. The kernels want r, k, v, alpha and beta in bf16, so the result
    is less exact than that of the other forms; log w and the state stay fp32.
    """
    rule = import_module(_MODULE).chunk_dplr_delta_rule
    q, k, v, a, b = (
        x.to(torch.bfloat16).contiguous() for x in (r_BTHN, k_BTHN, v_BTHN, alpha_BTHN, beta_BTHN)
    )
    y, final = rule(
        q=q,
        k=k,
        v=v,
        a=a,
        b=b,
        gk=log_w_BTHN.float().contiguous(),
        scale=1.0,
        initial_state=state_BHNN.float().transpose(-1, -2).contiguous(),
        output_final_state=True,
    )
    return y.to(v_BTHN.dtype), final.transpose(-1, -2)
