"""Log-probabilities of whole answers, and losses over them, without ever holding (B,T,V)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from asnn_goose.losses.chunked_head import head_terms
from asnn_goose.trace import Batch, Trace, capped


def answer_log_probs(trace: Trace, batch: Batch, *, chunk: int) -> Tensor:
    """Log p of each row's labels (B,) in fp32, without a gradient."""
    with torch.no_grad():
        return _over_head(trace, batch, lambda sums_B: list(sums_B.unbind()), chunk=chunk)


def answer_lengths(batch: Batch) -> Tensor:
    """Labels that count in each row (B,), at least 1."""
    return batch.mask_BT.sum(1).clamp_min(1)


def answer_term(
    trace: Trace, batch: Batch, loss: Callable[[Tensor], Tensor], *, chunk: int
) -> tuple[Tensor, Tensor]:
    """A scalar loss of the rows' log-probabilities (B,), and those, detached.

    The loss need not be a sum over rows: its slopes are taken first, from log-probabilities that
    cost one product with the head, and are the weights of the rows in a second pass, which then
    has the exact gradient.
    """
    known_B = answer_log_probs(trace, batch, chunk=chunk).requires_grad_()
    with torch.enable_grad():
        value = loss(known_B)
        (weight_B,) = torch.autograd.grad(value, known_B)
    term = _over_head(trace, batch, lambda sums_B: [(weight_B * sums_B).sum()], chunk=chunk)[0]
    return value.detach() + (term - term.detach()), known_B.detach()


def _over_head(
    trace: Trace,
    batch: Batch,
    terms: Callable[[Tensor], Sequence[Tensor]],
    *,
    chunk: int,
) -> Tensor:
    """Terms of the sums over each row's labels (B,), chunk by chunk of what counts."""
    if trace.final_BTD is None or trace.head_VD is None:
        raise ValueError("the Trace has no logits: capture 'vocab'")
    mask_n = batch.mask_BT.flatten()
    rows, length = batch.tokens_BT.shape
    row_m = torch.arange(rows, device=mask_n.device).repeat_interleave(length)[mask_n]
    labels_m = batch.labels_BT.flatten()[mask_n]

    def of_chunk(tokens: slice, logits: tuple[Tensor, ...]) -> Sequence[Tensor]:
        log_q_mV = torch.log_softmax(capped(logits[0].float(), trace.logit_cap), -1)
        found_m = log_q_mV.gather(1, labels_m[tokens, None])[:, 0]
        sums_B = found_m.new_zeros(rows).index_add(0, row_m[tokens], found_m)
        return terms(sums_B)

    # Only positions whose label counts are multiplied with the head: prompts are most of a row.
    hidden_mD = trace.final_BTD.flatten(0, 1)[mask_n]
    return head_terms(of_chunk, hidden_mD, [trace.head_VD], [], chunk=chunk)
