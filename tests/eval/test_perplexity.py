"""Perplexity against a plain full-logits computation, on a tiny random model."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from asnn_goose.eval.perplexity import LabelledWindow, Score, batches, mixed, perplexity
from asnn_goose.trace import IGNORED_LABEL, Trace

V, D = 29, 8


class Toy(torch.nn.Module):
    """A causal model: the running sum of embeddings, through a linear head."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.embedding_VD = torch.randn(V, D, generator=generator)
        self.head_VD = torch.randn(V, D, generator=generator)
        self.shapes: list[tuple[int, ...]] = []

    def trace(self, tokens_BT: Tensor, needs: frozenset[str]) -> Trace:
        assert needs == {"vocab"}
        assert not torch.is_grad_enabled()
        self.shapes.append(tuple(tokens_BT.shape))
        return Trace(final_BTD=self.embedding_VD[tokens_BT].cumsum(1).tanh(), head_VD=self.head_VD)

    def plain_nll(self, windows: list[LabelledWindow]) -> float:
        total = 0.0
        for tokens, labels in windows:
            logits = self.embedding_VD[tokens].cumsum(1).tanh() @ self.head_VD.T
            logp = logits.double().log_softmax(-1)[0]
            total -= sum(
                float(logp[i, y]) for i, y in enumerate(labels[0].tolist()) if y != IGNORED_LABEL
            )
        return total


def make_windows(count: int, length: int, ragged: int = 0) -> list[LabelledWindow]:
    ids = torch.randint(0, V, (count * length + ragged + 1,), generator=torch.manual_seed(0))
    starts = range(0, count * length, length)
    windows = [(ids[None, s : s + length], ids[None, s + 1 : s + length + 1]) for s in starts]
    if ragged:
        windows.append((ids[None, -ragged - 1 : -1], ids[None, -ragged:]))
    return windows


def test_matches_the_plain_sum() -> None:
    toy, windows = Toy(), make_windows(5, 7, ragged=3)
    score = perplexity(toy.trace, windows)
    assert score.tokens == 38
    assert score.nll_sum == pytest.approx(toy.plain_nll(windows), rel=1e-6)
    assert score.perplexity == pytest.approx(math.exp(toy.plain_nll(windows) / 38), rel=1e-6)


@pytest.mark.parametrize("batch", [1, 2, 4, 64])
@pytest.mark.parametrize("chunk", [1, 5, 1000])
def test_batch_and_chunk_change_nothing(batch: int, chunk: int) -> None:
    toy, windows = Toy(), make_windows(6, 9, ragged=4)
    score = perplexity(toy.trace, windows, batch=batch, chunk=chunk)
    assert score.nll_sum == pytest.approx(toy.plain_nll(windows), rel=1e-6)
    assert max(shape[0] for shape in toy.shapes) == min(batch, 6)


def test_ragged_window_runs_alone() -> None:
    shapes = [tuple(tokens.shape) for tokens, _ in batches(make_windows(5, 8, ragged=3), batch=4)]
    assert shapes == [(4, 8), (1, 8), (1, 3)]


def test_ignored_labels_do_not_count() -> None:
    toy, windows = Toy(), make_windows(2, 6)
    windows[0] = (windows[0][0], windows[0][1].clone())
    windows[0][1][0, 2] = IGNORED_LABEL
    bytes_V = torch.full((V,), 3)
    score = perplexity(toy.trace, windows, bytes_V=bytes_V)
    assert (score.tokens, score.bytes) == (11, 33)
    assert score.nll_sum == pytest.approx(toy.plain_nll(windows), rel=1e-6)


def test_head_never_sees_more_than_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    vocab = Trace.vocab

    def spy(self: Trace, tokens: slice) -> Tensor:
        logits = vocab(self, tokens)
        sizes.append(logits.shape[0])
        return logits

    monkeypatch.setattr(Trace, "vocab", spy)
    perplexity(Toy().trace, make_windows(4, 10), chunk=16)
    assert sizes == [16, 16, 8]


def test_progress_hears_of_every_token() -> None:
    heard: list[int] = []
    perplexity(Toy().trace, make_windows(3, 5), batch=2, progress=heard.append)
    assert heard == [10, 5]


def test_nothing_to_score_is_an_error() -> None:
    with pytest.raises(ValueError, match="fewer than two tokens"):
        perplexity(Toy().trace, [])


def test_bits_per_byte() -> None:
    score = Score(nll_sum=math.log(2) * 24, tokens=6, bytes=12)
    assert score.bits_per_byte == pytest.approx(2.0)
    assert score.perplexity == pytest.approx(16.0)
    both = score + Score(nll_sum=math.log(2) * 12, tokens=6, bytes=24)
    assert both.bits_per_byte == pytest.approx(1.0)


def test_uniform_model_has_the_vocabulary_as_perplexity() -> None:
    def flat(tokens_BT: Tensor, needs: frozenset[str]) -> Trace:
        return Trace(final_BTD=torch.zeros(*tokens_BT.shape, D), head_VD=torch.zeros(V, D))

    assert perplexity(flat, make_windows(2, 5)).perplexity == pytest.approx(V, rel=1e-6)


def test_hopeless_models_are_infinite_not_an_overflow() -> None:
    assert Score(nll_sum=1e6, tokens=1).perplexity == math.inf
    assert math.isnan(Score(nll_sum=math.nan, tokens=1).perplexity)


def test_mixture_weighs_the_parts_whatever_was_scored_of_each() -> None:
    parts = [Score(nll_sum=20.0, tokens=10, bytes=40), Score(nll_sum=400.0, tokens=100, bytes=300)]
    found = mixed(parts, [0.75, 0.25])
    assert found.tokens == 110
    assert found.perplexity == pytest.approx(math.exp(0.75 * 2 + 0.25 * 4))
    bits = (0.75 * 2 + 0.25 * 4) / math.log(2) / (0.75 * 4 + 0.25 * 3)
    assert found.bits_per_byte == pytest.approx(bits, rel=0.01)
    assert mixed(parts[:1], [1.0]) == parts[0]
    with pytest.raises(ValueError, match="zip"):
        mixed(parts, [1.0])
