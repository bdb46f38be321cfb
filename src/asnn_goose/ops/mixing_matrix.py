"""WKV-7 as one matrix per head: what its recurrence does to the values of a whole window."""

from __future__ import annotations

import torch
from torch import Tensor

LONGEST = 256
"""Tokens of a window: beyond, the exponents of one chunk leave fp32 (log w > -0.607)."""


def mixing_matrix(
    r_BTHN: Tensor, log_w_BTHN: Tensor, k_BTHN: Tensor, alpha_BTHN: Tensor, beta_BTHN: Tensor
) -> Tensor:
    """M (B,H,T,T), lower triangular, with y_t = sum_s M[t,s] v_s from an empty state.

    The operands are those of `wkv7` but for v. M = A_rk + A_rb (I - A_ab)^-1 A_ak: the chunked form
    with one chunk, where A_xy[t,s] = sum_n x_t y_s exp(decay from s to t), strictly lower where x
    is alpha, which meets the state before token t. In the dtype of r, autocast or not. Raises
    ValueError where T is above 256.
    """
    T = r_BTHN.shape[1]
    if T > LONGEST:
        raise ValueError(f"window = {T}: mixing matrices are exact up to {LONGEST} tokens")
    r, log_w, k, alpha, beta = (
        x.transpose(1, 2) for x in (r_BTHN, log_w_BTHN, k_BTHN, alpha_BTHN, beta_BTHN)
    )
    g = log_w.cumsum(dim=-2)
    # Centred on the middle, which cancels out of every product, and so do its gradients.
    centre = g[..., T // 2 : T // 2 + 1, :].detach()
    to_r, to_alpha, fade = (g - centre).exp(), (g - log_w - centre).exp(), (centre - g).exp()
    with torch.autocast(r.device.type, enabled=False):
        right = (torch.cat([k, beta], dim=-2) * torch.cat([fade, fade], dim=-2)).mT
        # r meets the state after its own token was written and alpha the one before it, which is
        # why one product keeps its diagonal below and the other does not.
        r_k, r_beta = (r * to_r @ right).chunk(2, dim=-1)
        alpha_k, alpha_beta = (alpha * to_alpha @ right).chunk(2, dim=-1)
        # A triangular solve, for I - A_ab has ones on its diagonal: no pivots, and no inverse is
        # formed.
        solved = torch.linalg.solve_triangular(
            -alpha_beta.tril(-1), alpha_k.tril(-1), upper=False, unitriangular=True
        )
        mixed: Tensor = r_k.tril() + r_beta.tril() @ solved
    return mixed
