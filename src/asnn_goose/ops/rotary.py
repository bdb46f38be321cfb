"""Rotary positions (Su et al. 2021, arXiv 2104.09864)."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from asnn_goose.ops.fused import fits
from asnn_goose.ops.kernel_calls import addresses


def rotate(x_BTHN: Tensor, position_BT: Tensor, *, theta: float, channels: int = 0) -> Tensor:
    """Rotate pairs (n, n + M/2) by position * theta^(-2n/M), as Llama does.

    x (B,T,H,N); position (B,T) integer; M, even, the first `channels` of a head, 0 for all N. The
    channels behind them stay as they are. In one pass where a compiled kernel can (csrc/train).
    """
    half = (channels or x_BTHN.shape[-1]) // 2
    # Angles in fp32 whatever x is: in bf16 position 300 and 301 are the same number.
    exponent = torch.arange(half, device=x_BTHN.device, dtype=torch.float32) / half
    angle = position_BT[..., None, None].float() * theta**-exponent
    cos, sin = angle.cos().to(x_BTHN.dtype), angle.sin().to(x_BTHN.dtype)
    if fits(x_BTHN, columns=1) and position_BT.shape == x_BTHN.shape[:2]:
        return cast(Tensor, _Turn.apply(x_BTHN, cos, sin))  # type: ignore[no-untyped-call]
    # Halves and not neighbours are paired, as Hugging Face stores Llama's weights; the other
    # pairing would permute every head that is inherited.
    left, right = x_BTHN[..., :half], x_BTHN[..., half : 2 * half]
    turned = (left * cos - right * sin, right * cos + left * sin, x_BTHN[..., 2 * half :])
    return torch.cat(turned, dim=-1)


class _Turn(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_BTHN: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _turned(x_BTHN, cos, sin, back=False)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return _turned(gradients[0], *ctx.saved_tensors, back=True), None, None


def _turned(x_BTHN: Tensor, cos: Tensor, sin: Tensor, *, back: bool) -> Tensor:
    from asnn_goose import _native

    x_BTHN = x_BTHN.contiguous()
    out_BTHN = torch.empty_like(x_BTHN)
    heads, size = x_BTHN.shape[-2:]
    _native.turn(
        sizes=(x_BTHN.numel() // (heads * size), heads, size, cos.shape[-1]),
        back=back,
        inputs=addresses(cos, sin, x_BTHN),
        y=out_BTHN.data_ptr(),
        threads=torch.get_num_threads(),
    )
    return out_BTHN
