"""Losses over the vocabulary without ever holding (B,T,V).

The heads are multiplied for a few tokens at a time. A chunk's gradients with respect to the hidden
states, the heads and the losses' own parameters are taken at once, while its logits are at hand,
so nothing is recomputed in the backward pass and nothing of size V outlives the chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import torch
from torch import Tensor

ChunkTerms = Callable[[slice, tuple[Tensor, ...]], Tensor]
"""Maps a range of tokens and their logits (n,V), one per head, to its share of the terms (k,)."""

Groups = tuple[tuple[int, ...], ...]
"""Terms by number; those of one group share their gradient."""


def head_terms(
    compute: ChunkTerms,
    hidden_nD: Tensor,
    heads: Sequence[Tensor],
    parameters: Sequence[Tensor],
    *,
    chunk: int,
    groups: Groups = (),
) -> Tensor:
    """Sum over chunks of `compute`: terms (k,) that can be differentiated.

    heads (V,D) all read the same hidden states; `parameters` are those of the losses. Without
    `groups` the gradient kept is that of the terms' plain sum: a backward pass that weighs them
    differently raises RuntimeError, so weights belong into `compute`. With `groups`, which name
    every term once, one gradient is kept for each, and only terms of one group must weigh alike.
    Every group after the first costs a backward pass through the losses, the two products of the
    heads' backward pass, and memory for one gradient of hidden states, heads and parameters.
    """
    inputs = (hidden_nD, *heads, *parameters)
    settings = (compute, chunk, groups or (None,), len(heads))
    return cast(Tensor, _HeadTerms.apply(*settings, *inputs))  # type: ignore[no-untyped-call]


class _HeadTerms(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        compute: ChunkTerms,
        chunk: int,
        groups: tuple[tuple[int, ...] | None, ...],
        heads: int,
        *inputs: Tensor,
    ) -> Tensor:
        wanted = ctx.needs_input_grad[4:]
        grads = [
            [torch.zeros_like(x) if want else None for x, want in zip(inputs, wanted, strict=True)]
            for _ in groups
        ]
        total = torch.zeros(())
        for start in range(0, inputs[0].shape[0], chunk):
            tokens = slice(start, min(start + chunk, inputs[0].shape[0]))
            total = total + _one_chunk(compute, tokens, inputs, heads, groups, grads)
        ctx.groups, ctx.grads = groups, grads
        return total

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Any:
        (grad_k,) = grad_outputs
        scales = [_shared(grad_k if group is None else grad_k[list(group)]) for group in ctx.groups]
        if ctx.grads is None:
            raise RuntimeError("terms of one head pass are differentiated twice: keep them apart")
        if len(scales) > 1:
            return (None,) * 4 + tuple(
                _weighed(parts, scales) for parts in zip(*ctx.grads, strict=True)
            )
        (grads,), ctx.grads = ctx.grads, None
        return (None,) * 4 + tuple(None if g is None else g.mul_(scales[0]) for g in grads)


def _shared(grad_k: Tensor) -> Tensor:
    """The one factor of a group's terms."""
    if bool((grad_k != grad_k[0]).any()):
        raise RuntimeError("terms of one head pass share their gradient: sum them unweighted")
    return grad_k[0]


def _weighed(parts: Sequence[Tensor | None], scales: Sequence[Tensor]) -> Tensor | None:
    """Sum of the groups' gradients for one input; they stay as they are for another pass."""
    total: Tensor | None = None
    for part, scale in zip(parts, scales, strict=True):
        if part is not None and bool(scale != 0):
            total = part * scale if total is None else total.add_(part * scale)
    return total


def _one_chunk(
    compute: ChunkTerms,
    tokens: slice,
    inputs: Sequence[Tensor],
    heads: int,
    groups: tuple[tuple[int, ...] | None, ...],
    grads: list[list[Tensor | None]],
) -> Tensor:
    """Terms of one chunk (k,), detached; adds its gradients to `grads`."""
    rows_nD = inputs[0][tokens]
    logits = tuple((rows_nD @ head_VD.T).requires_grad_() for head_VD in inputs[1 : 1 + heads])
    own = zip(inputs[1 + heads :], grads[0][1 + heads :], strict=True)
    leaves = [*logits, *(parameter for parameter, grad in own if grad is not None)]
    with torch.enable_grad():
        terms_k = compute(tokens, logits)
        totals = [(terms_k if g is None else terms_k[list(g)]).sum() for g in groups]
    if all(grad is None for grad in grads[0]):
        return terms_k.detach()
    for number, (total, sums) in enumerate(zip(totals, grads, strict=True), start=1):
        found = torch.autograd.grad(
            total, leaves, allow_unused=True, retain_graph=number < len(groups)
        )
        _collect(found[:heads], rows_nD, inputs[1 : 1 + heads], tokens, sums)
        _add_all((grad for grad in sums[1 + heads :] if grad is not None), found[heads:])
    return terms_k.detach()


def _collect(
    d_logits: Sequence[Tensor | None],
    rows_nD: Tensor,
    heads: Sequence[Tensor],
    tokens: slice,
    sums: list[Tensor | None],
) -> None:
    """From the gradients of logits to those of hidden states (sums[0]) and heads (after it)."""
    for d_nV, head_VD, d_head_VD in zip(d_logits, heads, sums[1 : 1 + len(heads)], strict=True):
        if d_nV is None:
            continue
        if sums[0] is not None:
            sums[0][tokens] += d_nV @ head_VD
        if d_head_VD is not None:
            _add_product(d_head_VD, d_nV.T, rows_nD)


def _add_all(totals: Iterable[Tensor], parts: Iterable[Tensor | None]) -> None:
    for total, part in zip(totals, parts, strict=True):
        if part is not None:
            total.add_(part)


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add left @ right to `total`, in place where the types allow it (autocast mixes them)."""
    if left.dtype == right.dtype == total.dtype:
        total.addmm_(left, right)
    else:
        total.add_(left @ right)
