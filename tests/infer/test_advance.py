"""Many sequences in one call: each gets its own logits and spikes, whoever else is there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from asnn_goose.export.packed import PackSettings, export_packed
from asnn_goose.format.packed import PackedModel, read_packed
from asnn_goose.infer.backend import BackendName, EngineError, native_module
from asnn_goose.infer.engine import Engine
from asnn_goose.model import GooseForCausalLM

try:
    native_module()
except EngineError:
    pytest.skip("no compiled engine", allow_module_level=True)

PRECISION = {
    "*": {"planes": 1, "steps": 3},
    "k": {"steps": 1},
}


@pytest.fixture(scope="module")
def model(
    student: Callable[..., GooseForCausalLM], tmp_path_factory: pytest.TempPathFactory
) -> PackedModel:
    """Spikes in front of blocks' matrices, at a site, and in front of the head."""
    folder = tmp_path_factory.mktemp("student") / "packed"
    settings = PackSettings(dense="f32", low_rank="f32", head="ternary")
    export_packed(student(precision=PRECISION), folder, settings=settings)
    return read_packed(folder)


def advanced(
    engine: Engine, texts: list[np.ndarray], *, counted: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    spikes = np.zeros((len(texts), len(engine.spiking)), np.uint32)
    states = [engine.start() for _ in texts]
    logits = engine.advance(states, texts, spikes=spikes if counted else None)
    return logits.copy(), spikes


@pytest.mark.parametrize("threads", [1, 2])
def test_spikes_of_each_sequence_are_those_it_has_alone(
    model: PackedModel, ids: np.ndarray, threads: int
) -> None:
    engine = Engine(model, threads=threads)
    texts = [ids, ids[:1], ids[5:12]]
    logits, together = advanced(engine, texts)
    alone = [advanced(engine, [text]) for text in texts]
    np.testing.assert_array_equal(logits, np.concatenate([found for found, _ in alone]))
    np.testing.assert_array_equal(together, np.concatenate([spikes for _, spikes in alone]))
    assert (together[0] > together[1]).all()


def test_spikes_add_up_to_the_counts(model: PackedModel, ids: np.ndarray) -> None:
    engine = Engine(model, threads=1)
    engine.reset_counts()
    _, spikes = advanced(engine, [ids, ids[:1]])
    counted = [came for came, _ in engine.counts().values()]
    assert "lm_head" in engine.spiking
    assert "blocks.0.mixer.k" in engine.spiking
    np.testing.assert_array_equal(spikes.sum(0), counted)


def test_the_oracle_counts_the_same_places(model: PackedModel, ids: np.ndarray) -> None:
    found = {}
    backends: tuple[BackendName, ...] = ("native", "reference")
    for backend in backends:
        engine = Engine(model, backend=backend, threads=1)
        _, spikes = advanced(engine, [ids[:4], ids[9:11]])
        found[backend] = {name: spikes[:, place] for place, name in enumerate(engine.spiking)}
    assert found["native"].keys() == found["reference"].keys()
    for name, spikes in found["native"].items():
        # Rounding may tip a neuron at its threshold.
        np.testing.assert_allclose(spikes, found["reference"][name], atol=2)


def test_logits_do_not_change_with_counting(model: PackedModel, ids: np.ndarray) -> None:
    engine = Engine(model, threads=1)
    counted, spikes = advanced(engine, [ids, ids[:3]])
    plain, nothing = advanced(engine, [ids, ids[:3]], counted=False)
    np.testing.assert_array_equal(counted, plain)
    assert spikes.any()
    assert not nothing.any()


def test_wrong_calls_are_named(model: PackedModel, ids: np.ndarray) -> None:
    engine = Engine(model, threads=1)
    with pytest.raises(EngineError, match="1 texts for 2 states"):
        engine.advance([engine.start(), engine.start()], [ids])
    with pytest.raises(EngineError, match=r"spikes of shape \(1, 2\): must be \(1, "):
        engine.advance([engine.start()], [ids], spikes=np.zeros((1, 2), np.uint32))
