"""Rotary positions (Su et al. 2021, arXiv 2104.09864)."""

from __future__ import annotations

import torch
from torch import Tensor


def rotate(x_BTHN: Tensor, position_BT: Tensor, *, theta: float, channels: int = 0) -> Tensor:
    """Rotate pairs (n, n + M/2) by position * theta^(-2n/M), as Llama does.

    x (B,T,H,N); position (B,T) integer; M, even, the first `channels` of a head, 0 for all N. The
    channels behind them stay as they are.
    """
    half = (channels or x_BTHN.shape[-1]) // 2
    # Angles in fp32 whatever x is: in bf16 position 300 and 301 are the same number.
    exponent = torch.arange(half, device=x_BTHN.device, dtype=torch.float32) / half
    angle = position_BT[..., None, None].float() * theta**-exponent
    cos, sin = angle.cos().to(x_BTHN.dtype), angle.sin().to(x_BTHN.dtype)
    # Halves and not neighbours are paired, as Hugging Face stores Llama's weights; the other
    # pairing would permute every head that is inherited.
    left, right = x_BTHN[..., :half], x_BTHN[..., half : 2 * half]
    turned = (left * cos - right * sin, right * cos + left * sin, x_BTHN[..., 2 * half :])
    return torch.cat(turned, dim=-1)
