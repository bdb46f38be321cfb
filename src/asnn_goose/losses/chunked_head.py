"""Losses over the vocabulary without ever holding (B,T,V).

The heads are multiplied for a few tokens at a time. A chunk's gradients with respect to the hidden
states, the heads and the losses' own parameters are taken at once, while its logits are at hand,
so nothing is recomputed in the backward pass and nothing of size V outlives the chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor

ChunkTerms = Callable[[slice, tuple[Tensor, ...]], Sequence[Tensor]]
"""Maps a range of tokens and their logits (n,V), one per head, to its share of each term."""

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
    A group goes back through its own losses alone. Every one after the first costs the two
    products of the heads' backward pass, and memory for one gradient of what it reaches of hidden
    states, heads and parameters.

    Where gradients are off, or no input wants one, the values are all that is computed.
    """
    inputs = (hidden_nD, *heads, *parameters)
    # Validation comes this way, and must not pay for gradients that nobody takes.
    if not (torch.is_grad_enabled() and any(x.requires_grad for x in inputs)):
        return _values(compute, hidden_nD, heads, chunk=chunk)
    settings = (compute, chunk, groups or (None,), len(heads))
    return cast(Tensor, _HeadTerms.apply(*settings, *inputs))  # type: ignore[no-untyped-call]


@torch.no_grad()
def _values(
    compute: ChunkTerms, hidden_nD: Tensor, heads: Sequence[Tensor], *, chunk: int
) -> Tensor:
    """The terms (k,) alone."""
    total = torch.zeros(())
    for tokens in _ranges(len(hidden_nD), chunk):
        total = total + torch.stack([*compute(tokens, _logits(hidden_nD[tokens], heads))])
    return total


def _ranges(count: int, chunk: int) -> Iterator[slice]:
    return (slice(start, min(start + chunk, count)) for start in range(0, count, chunk))


def _logits(rows_nD: Tensor, heads: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return tuple(rows_nD @ head_VD.T for head_VD in heads)


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
        # Gradients are taken in the forward pass: only there a chunk's logits exist.
        grads = [_Sums(inputs, ctx.needs_input_grad[4:]) for _ in groups]
        total = torch.zeros(())
        for tokens in _ranges(len(inputs[0]), chunk):
            total = total + _one_chunk(compute, tokens, inputs, heads, groups, grads)
        ctx.groups, ctx.grads = groups, [sums.found for sums in grads]
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
        # Scaled in place, as a head's gradient is as large as the head; so they serve only once.
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
        # A gradient of 0 is not added: it may be as large as a head, and 0 times infinity is not
        # nothing.
        if part is not None and bool(scale != 0):
            total = part * scale if total is None else total.add_(part * scale)
    return total


class _Sums:
    """A group's gradients of the inputs, summed over the chunks.

    found  one for every input; None where it wants none or the group does not reach it
    """

    def __init__(self, inputs: Sequence[Tensor], wanted: Sequence[bool]) -> None:
        self.found: list[Tensor | None] = [None] * len(inputs)
        self._inputs, self._wanted = inputs, wanted

    def wants(self, number: int) -> bool:
        """Whether an input has use for a gradient."""
        return self._wanted[number]

    def of(self, number: int) -> Tensor:
        """Where the gradient of an input is summed up, made at the first call."""
        found = self.found[number]
        if found is None:
            # At the first call only: a head that no loss of the group looks at costs no memory.
            found = self.found[number] = torch.zeros_like(self._inputs[number])
        return found


def _one_chunk(
    compute: ChunkTerms,
    tokens: slice,
    inputs: Sequence[Tensor],
    heads: int,
    groups: tuple[tuple[int, ...] | None, ...],
    grads: Sequence[_Sums],
) -> Tensor:
    """Terms of one chunk (k,), detached; adds its gradients to `grads`."""
    logits = _logits(inputs[0][tokens], inputs[1 : 1 + heads])
    own = [number for number in range(1 + heads, len(inputs)) if grads[0].wants(number)]
    # Logits are leaves: from their gradient two products give those of hidden states and head.
    leaves = [*(z_nV.requires_grad_() for z_nV in logits), *(inputs[number] for number in own)]
    with torch.enable_grad():
        terms = compute(tokens, logits)
        # Not taken out of one stack: that would send a gradient of 0 through all other terms.
        members = [range(len(terms)) if group is None else group for group in groups]
        totals = [torch.stack([terms[number] for number in group]).sum() for group in members]
    for number, (total, sums) in enumerate(zip(totals, grads, strict=True), start=1):
        found = torch.autograd.grad(
            total, leaves, allow_unused=True, retain_graph=number < len(groups)
        )
        _collect(found[:heads], tokens, inputs, sums)
        for place, part in zip(own, found[heads:], strict=True):
            if part is not None:
                sums.of(place).add_(part)
    return torch.stack([*terms]).detach()


def _collect(
    d_logits: Sequence[Tensor | None], tokens: slice, inputs: Sequence[Tensor], sums: _Sums
) -> None:
    """From the gradients of logits to those of hidden states (input 0) and heads (after it)."""
    for number, d_nV in enumerate(d_logits, start=1):
        if d_nV is None:
            continue
        # A frozen body or a frozen head saves its product, which is a third of this pass.
        if sums.wants(0):
            sums.of(0)[tokens] += d_nV @ inputs[number]
        if sums.wants(number):
            _add_product(sums.of(number), d_nV.T, inputs[0][tokens])


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add left @ right to `total`, in place where the types allow it (autocast mixes them)."""
    if left.dtype == right.dtype == total.dtype:
        # In place: the product by itself would be one more array of the head's size for every
        # chunk.
        total.addmm_(left, right)
    else:
        total.add_(left @ right)
