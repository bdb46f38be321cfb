"""Screened logits: exact where it matters, rough only where a drawing cannot notice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from asnn_goose.export.packed import PackSettings, export_packed
from asnn_goose.format.packed import read_packed
from asnn_goose.infer.engine import Engine
from asnn_goose.infer.sampler import Sampling, distribution
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


def both(
    engine: Engine, token: int, missed: float, temperature: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    state = engine.start()
    engine.prefill(state, [1, 2, token])
    fork = engine.fork(state)
    rough = engine.step([state], [token], missed=missed, temperature=temperature)[0]
    return rough, engine.step([fork], [token])[0]


def probability(logits: np.ndarray, temperature: float) -> np.ndarray:
    p = np.exp((logits.astype(np.float64) - logits.max()) / temperature)
    return np.asarray(p / p.sum())


@pytest.mark.parametrize("temperature", [0.7, 1.0, 1.5])
@pytest.mark.parametrize("missed", [0.01, 0.05, 0.3])
def test_rough_words_hold_no_more_than_they_may(
    engine: Engine, missed: float, temperature: float
) -> None:
    for token in range(5, 12):
        screened, exact = both(engine, token, missed, temperature)
        rough = screened != exact
        assert 0 < rough.sum() < WORDS
        # The first pass is off by some tenths of a nat here, and so is what it thinks of the rest.
        assert probability(exact, temperature)[rough].sum() < 2 * missed
        assert screened.argmax() == exact.argmax()
        assert np.abs(screened - exact).std() < 0.12 * exact.std()


def test_a_sharper_drawing_leaves_more_words_rough(engine: Engine) -> None:
    sharp, wild = (
        sum((np.not_equal(*both(engine, token, 0.02, temperature))).sum() for token in range(5, 9))
        for temperature in (0.5, 1.0)
    )
    assert sharp > 1.05 * wild


@pytest.mark.parametrize("temperature", [0.8, 1.3])
def test_what_is_drawn_is_off_by_no_more_than_may_be_missed(
    engine: Engine, temperature: float
) -> None:
    sampling = Sampling(temperature=temperature, top_p=0.95)
    for token in range(5, 11):
        logits = both(engine, token, sampling.unnoticed, temperature)
        p_V = np.zeros((2, WORDS))
        for row_V, logits_V in zip(p_V, logits, strict=True):
            ids, p = distribution(logits_V, sampling)
            row_V[ids] = p
        assert np.abs(p_V[0] - p_V[1]).sum() / 2 <= sampling.unnoticed
        assert p_V[0].argmax() == p_V[1].argmax()


def test_rows_are_screened_together_as_alone(engine: Engine) -> None:
    ids = np.arange(9, dtype=np.int32)
    backend = engine._backend
    together = backend.forward([engine.start()], [ids], every=True, missed=0.05)
    state = engine.start()
    for row, token in zip(together, ids, strict=True):
        np.testing.assert_array_equal(row, engine.step([state], [int(token)], missed=0.05)[0])


def test_none_may_be_missed_by_default(engine: Engine) -> None:
    screened, exact = both(engine, 7, 0.0)
    np.testing.assert_array_equal(screened, exact)


def test_greedy_needs_only_the_first_word(engine: Engine) -> None:
    for token in range(5, 12):
        screened, exact = both(engine, token, Sampling(greedy=True).unnoticed)
        assert screened.argmax() == exact.argmax()
        assert screened.max() == exact.max()


def test_what_a_drawing_may_miss() -> None:
    assert Sampling(top_p=0.95).unnoticed == pytest.approx(0.02)
    assert Sampling(greedy=True).unnoticed == 1
    wild = Sampling(top_p=0.9, temperature=1.2)
    assert wild.rough == {"missed": pytest.approx(0.04), "temperature": 1.2}
    for exact in (
        Sampling(),
        Sampling(top_p=0.9, repetition_penalty=1.1),
        Sampling(greedy=True, repetition_penalty=1.1),
    ):
        assert exact.unnoticed == 0
