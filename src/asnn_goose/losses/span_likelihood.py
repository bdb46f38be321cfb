"""Likelihoods of spans of text, whatever tokens they are cut into.

After approximate likelihood matching (Minixhofer et al. 2025, arXiv 2503.20083).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from asnn_goose.losses.kinds import TraceLoss, check_temperature
from asnn_goose.losses.separate import parts_of
from asnn_goose.trace import Batch, Reading, Trace, capped

LARGEST = -1e-6
"""Log-likelihood that counts as certain: at 0 the other outcome would have no logarithm."""


class SpanLikelihood(TraceLoss):
    """tau KL over two outcomes, that a span comes or not: p^(1/tau) and the rest.

    p is what a model gives all tokens of the span together, and a span is the shortest piece of
    text that begins and ends with a token in both tokenizations: with one tokenizer, a token. The
    mean is over spans. Large tau keeps long and unlikely spans in play (the paper takes 100); the
    factor tau keeps the size of gradients and is ours, as is leaving out the paper's correction
    for spans that a tokenization favours.

    temperature  tau
    chunk        tokens whose logits exist at one time; they are computed twice
    """

    needs = frozenset({"vocab"})
    across_vocabularies = True

    def __init__(self, *, temperature: float = 100.0, chunk: int = 256) -> None:
        super().__init__()
        self.temperature = check_temperature(temperature)
        if chunk < 1:
            raise ValueError(f"chunk = {chunk}: must be at least 1 token")
        self.chunk = chunk

    def forward(self, student: Trace, teacher: Trace, batch: Batch) -> Tensor:
        labels_n = batch.labels_BT.flatten().clamp_min(0)
        ours_n = _next_log_p(student, labels_n, chunk=self.chunk)
        counts_n = batch.mask_BT.flatten()
        total = 0.0 * ours_n.sum()
        for weight, one in parts_of(teacher):
            ours_s, theirs_s = self._spans(ours_n, counts_n, labels_n, one)
            if len(ours_s):
                total = total + weight * self._apart(ours_s, theirs_s).mean()
        return total

    def _spans(
        self, ours_n: Tensor, counts_n: Tensor, labels_n: Tensor, teacher: Trace
    ) -> tuple[Tensor, Tensor]:
        """Log-likelihoods of every span, the student's and the teacher's."""
        reading = teacher.reading
        with torch.no_grad():
            following = labels_n if reading is None else reading.next_m
            theirs_m = _next_log_p(teacher, following, chunk=self.chunk)
        if reading is None:
            return ours_n[counts_n], theirs_m[counts_n]
        whole_s = _whole(reading, counts_n)
        return (
            _sums(ours_n, reading.spans_n, reading.spans)[whole_s],
            _sums(theirs_m, reading.spans_m, reading.spans)[whole_s],
        )

    def _apart(self, ours_s: Tensor, theirs_s: Tensor) -> Tensor:
        b, a = (x.clamp_max(LARGEST) / self.temperature for x in (ours_s, theirs_s))
        comes, not_s = a.exp() * (a - b), -torch.expm1(a)
        return self.temperature * (comes + not_s * (_log_rest(a) - _log_rest(b)))


def _log_rest(x: Tensor) -> Tensor:
    """log(1 - e^x) for x < 0, whether e^x is near 0 or near 1."""
    near = x > -math.log(2)
    low, high = x.where(near, torch.full_like(x, -1.0)), x.where(~near, torch.full_like(x, -1.0))
    return torch.where(near, torch.log(-torch.expm1(low)), torch.log1p(-torch.exp(high)))


def _whole(reading: Reading, counts_n: Tensor) -> Tensor:
    """Spans (S,) all of whose tokens count."""
    left_out = _sums((~counts_n).float(), reading.spans_n, reading.spans)
    return left_out == 0


def _sums(x_n: Tensor, spans_n: Tensor, count: int) -> Tensor:
    """Sums (S,) over the members of every span."""
    inside_n = spans_n >= 0
    return x_n.new_zeros(count).index_add(0, spans_n[inside_n], x_n[inside_n])


def _next_log_p(trace: Trace, next_n: Tensor, *, chunk: int) -> Tensor:
    """Log p (n,) in fp32 of given next tokens; logits are made anew in the backward pass."""
    if trace.final_BTD is None or trace.head_VD is None:
        raise ValueError("span_likelihood needs logits of both passes: capture 'vocab'")
    rows_nD, found = trace.final_BTD.flatten(0, 1), []

    def of(rows: Tensor, head_VD: Tensor, tokens: Tensor) -> Tensor:
        z_nV = capped((rows @ head_VD.T).float(), trace.logit_cap)
        return z_nV.log_softmax(-1).gather(-1, tokens[:, None]).squeeze(-1)

    for start in range(0, len(rows_nD), chunk):
        part = slice(start, start + chunk)
        tokens = next_n[part].clamp_max(trace.head_VD.shape[0] - 1)
        found.append(checkpoint(of, rows_nD[part], trace.head_VD, tokens, use_reentrant=False))
    return torch.cat(found)
