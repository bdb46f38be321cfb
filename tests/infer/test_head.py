"""Screened logits: exact where it matters, rough only where a drawing cannot notice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from asnn_goose.export.packed import PackSettings, export_packed
from asnn_goose.format.packed import read_packed
from asnn_goose.infer.engine import Engine
from asnn_goose.infer.sampler import Sampling
from asnn_goose.model import GooseConfig, GooseForCausalLM

native: Any = pytest.importorskip("asnn_goose._native")

WORDS = 3001


@pytest.fixture(params=native.isas())
def engine(
    request: pytest.FixtureRequest, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> Engine:
    """A student with an int8 head and logits that vary by some five nats."""
    monkeypatch.setenv("ASNN_GOOSE_ISA", request.param)
    torch.manual_seed(0)
    config = GooseConfig(
        vocab_size=WORDS,
        hidden_size=96,
        num_hidden_layers=1,
        num_attention_heads=2,
        head_size=32,
        intermediate_size=64,
    )
    model = GooseForCausalLM(config)
    with torch.no_grad():
        model.lm_head.weight.normal_(std=0.4)
    export_packed(model, tmp_path / "packed", settings=PackSettings(head="int8"))
    return Engine(read_packed(tmp_path / "packed"), threads=1)


def both(engine: Engine, token: int, missed: float) -> tuple[np.ndarray, np.ndarray]:
    state = engine.start()
    engine.prefill(state, [1, 2, token])
    fork = engine.fork(state)
    return engine.step([state], [token], missed=missed)[0], engine.step([fork], [token])[0]


def probability(logits: np.ndarray) -> np.ndarray:
    p = np.exp(logits.astype(np.float64) - logits.max())
    return np.asarray(p / p.sum())


@pytest.mark.parametrize("missed", [0.01, 0.05, 0.3])
def test_rough_words_hold_no_more_than_they_may(engine: Engine, missed: float) -> None:
    for token in range(5, 25):
        screened, exact = both(engine, token, missed)
        rough = screened != exact
        assert 0 < rough.sum() < WORDS
        # The first pass is off by half a nat here, and so is what it thinks of the rest.
        assert probability(exact)[rough].sum() < 2.5 * missed
        assert screened.argmax() == exact.argmax()
        assert np.abs(screened - exact).std() < 0.15 * exact.std()


def test_none_may_be_missed_by_default(engine: Engine) -> None:
    screened, exact = both(engine, 7, 0.0)
    np.testing.assert_array_equal(screened, exact)


def test_greedy_needs_only_the_first_word(engine: Engine) -> None:
    for token in range(5, 25):
        screened, exact = both(engine, token, Sampling(greedy=True).unnoticed)
        assert screened.argmax() == exact.argmax()
        assert screened.max() == exact.max()


def test_what_a_drawing_may_miss() -> None:
    assert Sampling(top_p=0.95).unnoticed == pytest.approx(0.02)
    assert Sampling(greedy=True).unnoticed == 1
    for exact in (
        Sampling(),
        Sampling(top_p=0.9, temperature=1.2),
        Sampling(top_p=0.9, repetition_penalty=1.1),
        Sampling(greedy=True, repetition_penalty=1.1),
    ):
        assert exact.unnoticed == 0
