"""WKV-7 in chunks of tokens, by matrix products (the WY form): the fast form in pure PyTorch.

Within a chunk the states are never formed. With the cumulative log decay g (inclusive) and
g' = g - log w (exclusive), every row of P, p_t = S_{t-1} alpha_t, solves a unit lower triangular
system; what a whole chunk does to the state is then one affine map, S <- S M + K, so that the loop
over chunks is a single matrix product each. After Yang et al. 2024 (arXiv 2406.06484, section 3)
and Peng et al. 2025 (arXiv 2503.14456).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def _split(x_BTHN: Tensor, chunk: int) -> Tensor:
    """(B,T,H,N) as (B,H,n,C,N), zeros after the last token.

    Zeros leave the state as it is: log w = 0 keeps it, beta = k = v = 0 adds nothing.
    """
    B, T, H, N = x_BTHN.shape
    padded = F.pad(x_BTHN, (0, 0, 0, 0, 0, -T % chunk))
    return padded.view(B, -1, chunk, H, N).permute(0, 3, 1, 2, 4)


def _chunk_starts(state: Tensor, map_n: Tensor, shift_n: Tensor) -> tuple[Tensor, Tensor]:
    """The state before every chunk (B,H,n,N,N) and after the last: S <- S map + shift."""
    starts = []
    for chunk_map, chunk_shift in zip(map_n.unbind(2), shift_n.unbind(2), strict=True):
        starts.append(state)
        state = state @ chunk_map + chunk_shift
    return torch.stack(starts, dim=2), state


def chunked(
    r_BTHN: Tensor,
    log_w_BTHN: Tensor,
    k_BTHN: Tensor,
    v_BTHN: Tensor,
    alpha_BTHN: Tensor,
    beta_BTHN: Tensor,
    state_BHNN: Tensor,
    *,
    chunk: int,
) -> tuple[Tensor, Tensor]:
    """Outputs (B,T,H,N) and the final state (B,H,N,N), all in the dtype of the inputs.

    Exponents are centred on the middle of the chunk: exact in fp32 while the decay over half a
    chunk stays above e^-85, that is log w > -2.6 at chunk 64 (RWKV-7 keeps log w > -0.607).
    """
    B, T, H, N = r_BTHN.shape
    C = min(chunk, T)  # a short window is not padded to a whole chunk
    r, log_w, k, v, alpha, beta = (
        _split(x, C) for x in (r_BTHN, log_w_BTHN, k_BTHN, v_BTHN, alpha_BTHN, beta_BTHN)
    )
    g = log_w.cumsum(dim=-2)
    g_before = g - log_w
    g_end = g[..., -1:, :]
    # The centre cancels out of every product, and so do its gradients.
    centre = g[..., C // 2 : C // 2 + 1, :].detach()

    left = torch.cat([r * (g - centre).exp(), alpha * (g_before - centre).exp()], dim=-2)
    right = torch.cat([k, beta], dim=-2) * (centre - g).exp().repeat(1, 1, 1, 2, 1)
    (r_k, r_beta), (alpha_k, alpha_beta) = (
        half.chunk(2, dim=-1) for half in (left @ right.transpose(-1, -2)).chunk(2, dim=-2)
    )
    r_kbeta = torch.cat([r_k.tril(), r_beta.tril()], dim=-1)

    # r meets the state after its own token, hence tril(); alpha the one before, hence tril(-1).
    # P = U + W S^T: rows of P depend on earlier rows of P within the chunk.
    rhs = torch.cat([alpha * g_before.exp(), alpha_k.tril(-1) @ v], dim=-1)
    W, U = torch.linalg.solve_triangular(
        -alpha_beta.tril(-1), rhs, upper=False, unitriangular=True
    ).chunk(2, dim=-1)

    to_end = (g_end - g).exp()
    beta_end = beta * to_end
    map_n = W.transpose(-1, -2) @ beta_end + torch.diag_embed(g_end.squeeze(-2).exp())
    shift_n = torch.cat([v, U], dim=-2).transpose(-1, -2) @ torch.cat([k * to_end, beta_end], -2)
    starts, final = _chunk_starts(state_BHNN, map_n, shift_n)

    from_start = r * g.exp() + r_kbeta[..., C:] @ W
    y = from_start @ starts.transpose(-1, -2) + r_kbeta @ torch.cat([v, U], dim=-2)
    return y.permute(0, 2, 3, 1, 4).reshape(B, -1, H, N)[:, :T], final
