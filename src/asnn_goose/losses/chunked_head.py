"""Losses over the vocabulary without ever holding (B,T,V).

The head is multiplied for a few tokens at a time. A chunk's gradients with respect to the hidden
states, the head and the losses' own parameters are taken at once, while its logits are at hand,
so nothing is recomputed in the backward pass and nothing of size V outlives the chunk.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

ChunkTerms = Callable[[slice, Tensor], Tensor]
"""Maps a range of tokens and their logits (n,V) to the chunk's share of every term (k,)."""


def head_terms(
    compute: ChunkTerms,
    hidden_nD: Tensor,
    head_VD: Tensor,
    parameters: tuple[Tensor, ...],
    *,
    chunk: int,
) -> Tensor:
    """Sum over chunks of `compute`: (k,) terms whose plain sum can be differentiated.

    The gradient is that of the terms' sum: a backward pass that weighs them differently raises
    RuntimeError, so weights belong into `compute`. `parameters` are those of the losses.
    """
    inputs = (hidden_nD, head_VD, *parameters)
    return cast(Tensor, _HeadTerms.apply(compute, chunk, *inputs))  # type: ignore[no-untyped-call]


class _HeadTerms(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        compute: ChunkTerms,
        chunk: int,
        hidden_nD: Tensor,
        head_VD: Tensor,
        *parameters: Tensor,
    ) -> Tensor:
        wanted = ctx.needs_input_grad[2:]
        inputs = (hidden_nD, head_VD, *parameters)
        grads = [
            torch.zeros_like(x) if want else None for x, want in zip(inputs, wanted, strict=True)
        ]
        total = torch.zeros(())
        for start in range(0, hidden_nD.shape[0], chunk):
            tokens = slice(start, min(start + chunk, hidden_nD.shape[0]))
            total = total + _one_chunk(compute, tokens, inputs, grads)
        ctx.grads = grads
        return total

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Any:
        (grad_k,) = grad_outputs
        if bool((grad_k != grad_k[0]).any()):
            raise RuntimeError("terms of one head pass share their gradient: sum them unweighted")
        grads, ctx.grads = ctx.grads, None
        scale = grad_k[0]
        return (None, None, *(None if g is None else g.mul_(scale) for g in grads))


def _one_chunk(
    compute: ChunkTerms,
    tokens: slice,
    inputs: tuple[Tensor, ...],
    grads: list[Tensor | None],
) -> Tensor:
    """Terms of one chunk (k,), detached; adds its gradients to `grads`."""
    hidden_nD, head_VD, *parameters = inputs
    rows_nD = hidden_nD[tokens]
    logits_nV = (rows_nD @ head_VD.T).requires_grad_()
    leaves = [logits_nV, *(p for p, g in zip(parameters, grads[2:], strict=True) if g is not None)]
    with torch.enable_grad():
        terms_k = compute(tokens, logits_nV)
        total = terms_k.sum()
    if all(grad is None for grad in grads):
        return terms_k.detach()
    d_logits_nV, *d_parameters = torch.autograd.grad(total, leaves, allow_unused=True)
    if grads[0] is not None:
        grads[0][tokens] = d_logits_nV @ head_VD
    if grads[1] is not None:
        _add_product(grads[1], d_logits_nV.T, rows_nD)
    for grad, part in zip((g for g in grads[2:] if g is not None), d_parameters, strict=True):
        if part is not None:
            grad.add_(part)
    return terms_k.detach()


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add left @ right to `total`, in place where the types allow it (autocast mixes them)."""
    if left.dtype == right.dtype == total.dtype:
        total.addmm_(left, right)
    else:
        total.add_(left @ right)
