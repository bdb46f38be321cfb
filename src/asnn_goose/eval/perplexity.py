"""Perplexity and bits per byte of anything that leaves a Trace."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
import torch.nn.functional as F
from torch import Tensor

from asnn_goose.eval.word_counts import WordTable
from asnn_goose.trace import IGNORED_LABEL, Trace

TraceFn = Callable[[Tensor, frozenset[str]], Trace]
"""(tokens_BT, needs) -> Trace: a teacher's or a student's `trace`."""

LabelledWindow = tuple[Tensor, Tensor]
"""(tokens_1T, labels_1T): inputs, and the next token of each position."""

EachBatch = Callable[[Tensor, Tensor, Tensor], None]
"""(tokens_BT, labels_BT, losses_BT): who looks at the losses of single tokens."""

NEEDS = frozenset({"vocab"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What a model made of a text.

    nll_sum  negative log-likelihood, summed over the scored tokens, in nats
    tokens   tokens scored
    bytes    UTF-8 bytes of text that these tokens stand for (0 where unknown)
    words    words that begin in them, by white space (0 where unknown)
    """

    nll_sum: float
    tokens: int
    bytes: int = 0
    words: float = 0.0

    def __add__(self, other: Score) -> Score:
        return Score(
            nll_sum=self.nll_sum + other.nll_sum,
            tokens=self.tokens + other.tokens,
            bytes=self.bytes + other.bytes,
            words=self.words + other.words,
        )

    @property
    def perplexity(self) -> float:
        """The exponential of the mean negative log-likelihood in nats."""
        return exponential(self.nats)

    @property
    def nats(self) -> float:
        """Mean negative log-likelihood per token."""
        return self.nll_sum / self.tokens if self.tokens else math.nan

    @property
    def word_perplexity(self) -> float:
        """The same per word: comparable across tokenizers, on one and the same text."""
        return exponential(self.nll_sum / self.words if self.words else math.nan)

    @property
    def bits_per_byte(self) -> float:
        """Negative log-likelihood in bits per byte of text: comparable across tokenizers."""
        return self.nll_sum / math.log(2) / self.bytes if self.bytes else math.nan


def exponential(nats: float) -> float:
    """The exponential, infinite where that is no number of a computer."""
    # exp(710) overflows; "not above" lets NaN through to exp, which keeps it.
    return math.exp(nats) if not nats > 709 else math.inf


def mixed(scores: Sequence[Score], shares: Sequence[float]) -> Score:
    """The score of a mixture out of those of its parts, however many tokens of each were scored.

    Its nats and bytes per token are the parts', weighted by their shares of the tokens (which sum
    to 1); its tokens are all that were scored.
    """
    tokens = sum(score.tokens for score in scores)
    pairs = list(zip(scores, shares, strict=True))
    return Score(
        nll_sum=tokens * sum(share * score.nll_sum / score.tokens for score, share in pairs),
        tokens=tokens,
        bytes=round(tokens * sum(share * score.bytes / score.tokens for score, share in pairs)),
        words=tokens * sum(share * score.words / score.tokens for score, share in pairs),
    )


def perplexity(
    trace: TraceFn,
    windows: Iterable[LabelledWindow],
    *,
    bytes_V: Tensor | None = None,
    words: WordTable | None = None,
    batch: int = 8,
    chunk: int = 256,
    progress: Callable[[int], None] | None = None,
    each: Sequence[EachBatch] = (),
) -> Score:
    """Score every labelled position of the windows; each window starts from an empty context.

    Windows of one length run `batch` at a time, a ragged last one on its own. The head is
    applied to `chunk` tokens at a time, in fp32, so (B,T,V) never exists. `bytes_V` is
    `text_bytes(tokenizer)` and `words` its `word_table`; `progress` is told how many tokens were
    just scored, and those in `each` are given the losses of every batch.
    Raises ValueError where no window holds a labelled token.
    """
    total = Score(nll_sum=0.0, tokens=0)
    for tokens_BT, labels_BT in batches(windows, batch=batch):
        losses_BT = token_losses(trace, tokens_BT, labels_BT, chunk=chunk)
        scored = _score(tokens_BT, labels_BT, losses_BT, bytes_V=bytes_V, words=words)
        for look in each:
            look(tokens_BT, labels_BT, losses_BT)
        total += scored
        if progress:
            progress(scored.tokens)
    if not total.tokens:
        raise ValueError("nothing to score: the text holds fewer than two tokens")
    return total


def batches(windows: Iterable[LabelledWindow], *, batch: int) -> Iterator[LabelledWindow]:
    """Stack neighbouring windows of equal length, at most `batch` of them."""
    # Neighbours only: nothing is reordered, so that what is told on the way follows the text.
    for _, same in groupby(windows, key=lambda window: window[0].shape[-1]):
        # Only equal lengths are stacked: padding would enter a recurrent state.
        held: list[LabelledWindow] = []
        for window in same:
            held.append(window)
            if len(held) == batch:
                yield _stack(held)
                held = []
        if held:
            yield _stack(held)


def _stack(windows: list[LabelledWindow]) -> LabelledWindow:
    tokens, labels = zip(*windows, strict=True)
    return torch.cat(tokens), torch.cat(labels)


def token_losses(
    trace: TraceFn, tokens_BT: Tensor, labels_BT: Tensor, *, chunk: int = 256
) -> Tensor:
    """Negative log-likelihood in nats of every label (B,T), fp64; 0 where none counts."""

    def loss(logits_nV: Tensor, labels_n: Tensor) -> Tensor:
        return F.cross_entropy(
            logits_nV,
            labels_n,
            ignore_index=IGNORED_LABEL,
            reduction="none",
            # In fp64: a sum over 32 000 tokens would lose the digits in which two students differ.
        ).double()

    return by_chunk(trace, tokens_BT, labels_BT, loss, chunk=chunk)


@torch.no_grad()
def by_chunk(
    trace: TraceFn,
    tokens_BT: Tensor,
    labels_BT: Tensor,
    reduce: Callable[[Tensor, Tensor], Tensor],
    *,
    chunk: int = 256,
) -> Tensor:
    """A number (B,T) for every position, made of its logits (n,V) in fp32 and its label (n)."""
    left, labels_n = trace(tokens_BT, NEEDS), labels_BT.flatten()
    parts = []
    for start in range(0, labels_n.numel(), chunk):
        part = slice(start, start + chunk)
        logits_nV = left.vocab(part)
        # To the CPU chunk by chunk: what is kept is a number a token, and nobody waits for the
        # device twice.
        parts.append(reduce(logits_nV, labels_n[part].to(logits_nV.device)).cpu())
    return torch.cat(parts).view(labels_BT.shape)


def _score(
    tokens_BT: Tensor,
    labels_BT: Tensor,
    losses_BT: Tensor,
    *,
    bytes_V: Tensor | None,
    words: WordTable | None,
) -> Score:
    # Bytes and words of labels, not of inputs: the first token of a window is scored by nobody.
    counted_BT = labels_BT != IGNORED_LABEL
    return Score(
        nll_sum=float(losses_BT.sum()),
        tokens=int(counted_BT.sum()),
        bytes=0 if bytes_V is None else int(bytes_V[labels_BT[counted_BT]].sum()),
        words=0 if words is None else words.count(tokens_BT, labels_BT, counted_BT),
    )
