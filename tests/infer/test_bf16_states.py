"""States whose matrices are kept in bf16: half the memory, rounded after every token."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asnn_goose.infer.engine import Engine, EngineError

native: Any = pytest.importorskip("asnn_goose._native")

Make = Callable[..., Any]


def scores(engine: Engine, ids: np.ndarray) -> np.ndarray:
    return np.concatenate(list(engine.score(engine.start(), ids)))


@pytest.mark.parametrize("isa", native.isas())
def test_rounded_states_agree_with_the_oracle(
    model: Make, ids: np.ndarray, isa: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Much nearer to the oracle that rounds than to the one that does not."""
    monkeypatch.setenv("ASNN_GOOSE_ISA", isa)
    packed = model(head_size=32, num_attention_heads=2)
    found = scores(Engine(packed, threads=1, states="bf16"), ids)
    rounded, exact = (
        np.abs(scores(Engine(packed, backend="reference", states=states), ids) - found).mean()
        for states in ("bf16", "f32")
    )
    assert 0 < rounded < exact / 10
    assert exact < 0.05


def test_halves_go_away_from_zero_and_matrices_take_half_the_memory(model: Make) -> None:
    packed = model()
    state = Engine(packed, backend="reference", states="bf16").start()
    memory = state.arrays["mixer.memory"]  # type: ignore[attr-defined]
    bits = np.array([0x3F808000, 0x3F818000, 0x3F808001, 0xBF807FFF], np.uint32)
    memory.reshape(-1)[:4] = bits.view(np.float32)
    state.round_memory()  # type: ignore[attr-defined]
    rounded = memory.reshape(-1)[:4].view(np.uint32)
    assert [hex(n) for n in rounded] == ["0x3f810000", "0x3f820000", "0x3f810000", "0xbf800000"]
    whole, half = (Engine(packed, states=states).start().nbytes for states in ("f32", "bf16"))
    assert whole - half == memory.nbytes / 2


def test_such_states_are_forked_saved_and_told_apart(
    model: Make, ids: np.ndarray, tmp_path: Path
) -> None:
    packed = model()
    engine, other = (Engine(packed, threads=1, states=states) for states in ("bf16", "f32"))
    state = engine.start()
    engine.prefill(state, ids)
    engine.save(state, tmp_path / "state")
    loaded, _ = engine.load_state(tmp_path / "state")
    wanted = engine.step([engine.fork(state)], [5])
    np.testing.assert_array_equal(engine.step([loaded], [5]), wanted)
    with pytest.raises(ValueError, match="this model's has"):
        other.load_state(tmp_path / "state")
    other.save(other.start(), tmp_path / "whole")
    with pytest.raises(EngineError, match="its states is None, this one's is 'bf16'"):
        engine.load_state(tmp_path / "whole")
    with pytest.raises(ValueError, match="another model"):
        other.step([state], [5])


def test_an_unknown_form_is_named(model: Make) -> None:
    with pytest.raises(EngineError, match="states = 'fp8': choose f32 or bf16"):
        Engine(model(), states="fp8")  # type: ignore[arg-type]
