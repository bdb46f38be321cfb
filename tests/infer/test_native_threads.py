"""Threads and company: whoever else is read, and on however many cores, the bits are the same."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from asnn_goose.infer import backend as backends
from asnn_goose.infer.engine import Engine

pytest.importorskip("asnn_goose._native")

Make = Callable[..., Any]

TERNARY = {"planes": 1, "steps": 1, "threshold": 1.3, "rotate": True}
SITE = {"steps": 3, "threshold": 4.0}
COMPANY = [{}, {"*": TERNARY}, {"*": TERNARY, "k": SITE, "v": SITE}]


def scores(engine: Engine, ids: np.ndarray) -> np.ndarray:
    return np.concatenate(list(engine.score(engine.start(), ids)))


@pytest.mark.parametrize("precision", COMPANY, ids=["dense", "spiking", "sites"])
def test_threads_and_company_change_nothing(
    model: Make, ids: np.ndarray, precision: dict[str, Any]
) -> None:
    """Bit for bit: alone or in a batch, on one thread or three, in one call or in many."""
    packed = model(precision=precision)
    one, three = Engine(packed, threads=1), Engine(packed, threads=3)
    np.testing.assert_array_equal(scores(one, ids), scores(three, ids))
    texts = [ids[:1], ids[:9], ids]
    alone = [one.prefill(one.start(), text) for text in texts]
    states = [three.start() for _ in texts]
    for state, text in zip(states, texts, strict=True):
        if len(text) > 1:
            three.prefill(state, text[:-1])
    together = three.step(states, [int(text[-1]) for text in texts])
    np.testing.assert_array_equal(together, alone)


def test_many_sequences_of_different_length_in_one_call(model: Make, ids: np.ndarray) -> None:
    """Longer than a chunk of rows, so that sequences are cut and end at different times."""
    backend = Engine(model(), threads=2)._backend
    long = np.tile(ids, 9).astype(np.int32)
    texts = [long[:5], long[:150], long[:1], long[:64]]
    alone = [backend.forward([backend.new_state()], [text], every=False)[0] for text in texts]
    states = [backend.new_state() for _ in texts]
    together = backend.forward(states, texts, every=False)
    np.testing.assert_array_equal(together, alone)
    assert [state.position for state in states] == [5, 150, 1, 64]
    states = [backend.new_state() for _ in texts]
    every = backend.forward(states, texts, every=True)
    ends = np.cumsum([len(text) for text in texts]) - 1
    np.testing.assert_array_equal(every[ends], alone)


def test_threads_may_share_an_engine(model: Make, ids: np.ndarray) -> None:
    engine = Engine(model(), threads=1)
    wanted = engine.prefill(engine.start(), ids)
    found: list[np.ndarray] = []

    def work() -> None:
        found.extend(engine.prefill(engine.start(), ids) for _ in range(5))

    crew = [threading.Thread(target=work) for _ in range(4)]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join()
    assert len(found) == 20
    for logits in found:
        np.testing.assert_array_equal(logits, wanted)


def test_threads_are_chosen_by_size(model: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "usable_cores", lambda: 7)
    packed = model()
    chosen = Engine(packed)._backend
    one, two = [object()], [object(), object()]
    assert [chosen.threads_for(states) for states in (one, two)] == [1, 7]
    monkeypatch.setattr(backends, "LARGE", 1)
    assert Engine(packed)._backend.threads_for(one) == 7
    assert Engine(packed, threads=3)._backend.threads_for(two) == 3
