"""What RWKV-7 makes of a key: the direction that it forgets and the key that it writes."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from asnn_goose.ops.fused import fits
from asnn_goose.ops.kernel_calls import addresses, like


class DeltaKeys(NamedTuple):
    """Per head (B,T,H,N), as in the recurrence S (diag w + alpha beta^T) + v written^T.

    kappa  unit vector along which the state forgets; alpha = -kappa, beta = kappa a
    written  the key that is written, k (1 + (a - 1) k_a)
    """

    kappa: Tensor
    alpha: Tensor
    beta: Tensor
    written: Tensor


def delta_keys(
    k_BTHN: Tensor,
    a_BTHN: Tensor,
    removal_HN: Tensor | None,
    replacement_HN: Tensor | None,
    *,
    least: float,
) -> DeltaKeys:
    """Keys k and rates a of RWKV-7 (arXiv 2503.14456, equations 5 to 7).

    kappa is k, times `removal_HN` where it is given, over its length in a head, which counts as
    `least` at least; k_a is `replacement_HN`, and without it k is written as it is. In one pass
    where a compiled kernel can (csrc/train).
    """
    if removal_HN is not None and replacement_HN is not None and fits(k_BTHN) and fits(a_BTHN):
        args = (k_BTHN, a_BTHN, removal_HN, replacement_HN, least)
        found = _DeltaKeys.apply(*args)  # type: ignore[no-untyped-call]
        return DeltaKeys(*cast(tuple[Tensor, ...], found))
    turned_BTHN = k_BTHN if removal_HN is None else k_BTHN * removal_HN
    kappa = F.normalize(turned_BTHN.float(), dim=-1, eps=least)
    written = k_BTHN
    if replacement_HN is not None:
        # At a = 1 the key is written whole, at a = 0 only what k_a leaves of it.
        written = k_BTHN * (1 + (a_BTHN - 1) * replacement_HN)
    return DeltaKeys(kappa, -kappa, kappa * a_BTHN, written)


class _DeltaKeys(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *args: Any) -> tuple[Tensor, ...]:
        from asnn_goose import _native

        *tensors, least = args
        inputs = [x.contiguous() for x in tensors]
        outputs = like(*inputs[:1] * 4)
        ctx.save_for_backward(*inputs)
        ctx.least = least
        ctx.set_materialize_grads(False)
        _native.delta_keys(
            sizes=_sizes(inputs[0]),
            least=least,
            inputs=addresses(*inputs),
            outputs=addresses(*outputs),
            threads=torch.get_num_threads(),
        )
        return outputs

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        from asnn_goose import _native

        inputs = ctx.saved_tensors
        given = [None if x is None else x.contiguous() for x in gradients]
        found = like(*inputs)
        _native.delta_keys_back(
            sizes=_sizes(inputs[0]),
            least=ctx.least,
            inputs=addresses(*inputs),
            gradients_in=addresses(*given),
            gradients_out=addresses(*found),
            threads=torch.get_num_threads(),
        )
        return (*found, None)


def _sizes(k_BTHN: Tensor) -> tuple[int, int, int]:
    """Tokens, heads, size."""
    heads, size = k_BTHN.shape[-2:]
    return k_BTHN.numel() // (heads * size), heads, size
