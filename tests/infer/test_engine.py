"""States and what an engine does with them; on the oracle, and compiled where that is built."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from asnn_goose.infer.backend import EngineError, native_module
from asnn_goose.infer.engine import PREFILL, Engine
from asnn_goose.infer.sampler import Sampling
from asnn_goose.infer.state_file import read_state, write_state

Make = Callable[..., Any]
GREEDY = Sampling(greedy=True)


def built() -> bool:
    try:
        native_module()
    except EngineError:
        return False
    return True


BACKENDS = [
    "reference",
    pytest.param("native", marks=pytest.mark.skipif(not built(), reason="no compiled engine")),
]


@pytest.fixture(params=BACKENDS)
def engine(request: pytest.FixtureRequest, student: Make, packed: Make) -> Engine:
    model = packed(student(num_hidden_layers=2, rope=True))
    return Engine(model, threads=1, backend=request.param)


def test_prefill_is_steps(engine: Engine, ids: np.ndarray) -> None:
    whole, stepped = engine.start(), engine.start()
    logits = engine.prefill(whole, ids)
    for token in ids:
        step = engine.step([stepped], [int(token)])
    np.testing.assert_allclose(step[0], logits, atol=1e-5)
    assert whole.position == stepped.position == len(ids)


def test_score_gives_every_position_in_chunks(engine: Engine, ids: np.ndarray) -> None:
    chunks = list(engine.score(engine.start(), ids, chunk=10))
    assert [len(chunk) for chunk in chunks] == [10, 10, 3]
    every = np.concatenate(chunks)
    for length in (1, 10, 11, 23):
        logits = engine.prefill(engine.start(), ids[:length])
        np.testing.assert_allclose(every[length - 1], logits, atol=1e-5)


def test_states_step_together_as_alone(engine: Engine, ids: np.ndarray) -> None:
    states = [engine.start() for _ in range(3)]
    for number, state in enumerate(states):
        engine.prefill(state, ids[: number + 1])
    alone = [engine.step([engine.fork(state)], [5 + n]) for n, state in enumerate(states)]
    together = engine.step(states, [5, 6, 7])
    np.testing.assert_allclose(together, np.concatenate(alone), atol=1e-5)


def test_a_fork_goes_its_own_way(engine: Engine, ids: np.ndarray) -> None:
    state = engine.start()
    engine.prefill(state, ids)
    before, fork = state.to_bytes(), engine.fork(state)
    assert fork.to_bytes() == before
    engine.step([fork], [1])
    assert state.to_bytes() == before != fork.to_bytes()


def test_a_long_text_is_read_in_parts(engine: Engine) -> None:
    ids = np.arange(PREFILL + 3) % 97
    state, other = engine.start(), engine.start()
    logits = engine.prefill(state, ids)
    for chunk in engine.score(other, ids):
        last = chunk[-1]
    np.testing.assert_allclose(logits, last, atol=1e-5)


def test_a_saved_state_goes_on_where_it_was(
    engine: Engine, ids: np.ndarray, tmp_path: Path
) -> None:
    state = engine.start()
    engine.prefill(state, ids)
    engine.save(state, tmp_path / "state", text="said so far")
    loaded, notes = engine.load_state(tmp_path / "state")
    assert notes == {"text": "said so far"}
    assert loaded.position == len(ids)
    np.testing.assert_array_equal(engine.step([loaded], [3]), engine.step([state], [3]))
    assert [file.name for file in tmp_path.iterdir()] == ["state"]


@pytest.mark.parametrize("position", [-1, 2**53 + 1, 2**63 - 1])
def test_a_state_at_an_impossible_position_is_refused(engine: Engine, position: int) -> None:
    """Tokens are counted on from there, and learned positions are looked up by it."""
    state = engine.start()
    hostile = position.to_bytes(8, "little", signed=True) + state.to_bytes()[8:]
    with pytest.raises(ValueError, match=rf"position {position}: must be 0 to 2\^53"):
        state.load_bytes(hostile)
    assert state.position == 0


def test_notes_that_are_no_table_are_refused(tmp_path: Path) -> None:
    write_state(tmp_path / "state", b"", {"notes": [1]})
    with pytest.raises(EngineError, match="the header is damaged"):
        read_state(tmp_path / "state", fits={})


def test_a_state_of_another_model_is_refused(
    engine: Engine, student: Make, packed: Make, tmp_path: Path
) -> None:
    engine.save(engine.start(), tmp_path / "state")
    model = student(num_hidden_layers=2, rope=True)
    with torch.no_grad():
        model.final_norm.weight *= 2
    other = Engine(packed(model), threads=1, backend=engine.backend)
    with pytest.raises(EngineError, match="is a state of another model: its model is"):
        other.load_state(tmp_path / "state")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: b"x" + data, "holds no state"),
        (lambda data: data[:30], "holds no state"),
        (lambda data: data[:-1], "its checksum does not fit"),
        (lambda data: data.replace(b'{"', b'{{"', 1), "the header is damaged"),
    ],
)
def test_a_damaged_state_is_refused(
    engine: Engine, tmp_path: Path, damage: Callable[[bytes], bytes], message: str
) -> None:
    file = tmp_path / "state"
    engine.save(engine.start(), file)
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(EngineError, match=message):
        engine.load_state(file)


def test_generation_is_greedy_steps(engine: Engine, ids: np.ndarray) -> None:
    drawn = list(engine.generate(engine.start(), ids, sampling=GREEDY, limit=8))
    sequence = list(ids)
    for token in drawn:
        assert token == engine.prefill(engine.start(), sequence).argmax()
        sequence.append(token)
    assert len(drawn) == 8


def test_generation_ends_before_an_end_token(engine: Engine, ids: np.ndarray) -> None:
    drawn = list(engine.generate(engine.start(), ids, sampling=GREEDY, limit=8))
    ended = list(engine.generate(engine.start(), ids, sampling=GREEDY, limit=8, ends={drawn[3]}))
    assert ended == drawn[: drawn.index(drawn[3])]


def test_a_seed_makes_it_repeatable(engine: Engine, ids: np.ndarray) -> None:
    one, again, other = (
        list(engine.generate(engine.start(), ids, limit=20, seed=seed)) for seed in (5, 5, 6)
    )
    assert one == again != other


def test_senseless_calls_are_named(engine: Engine) -> None:
    for tokens, message in (([], "no tokens"), ([97], "token 97: must"), ([-1], "token -1")):
        with pytest.raises(EngineError, match=message):
            engine.prefill(engine.start(), tokens)
    with pytest.raises(EngineError, match="2 tokens for 1 states"):
        engine.step([engine.start()], [1, 2])
    with pytest.raises(EngineError, match="threads = 0"):
        Engine(engine.model, threads=0)
    with pytest.raises(EngineError, match="choose native or reference"):
        Engine(engine.model, backend="gpu")  # type: ignore[arg-type]


def test_without_a_compiled_engine_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr("asnn_goose.infer.backend.importlib.import_module", absent)
    with pytest.raises(EngineError, match=r"install a C\+\+20 compiler"):
        native_module()


def test_an_older_build_without_the_engine_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asnn_goose.infer.backend.importlib.import_module", lambda _: object())
    with pytest.raises(EngineError, match="built without the engine"):
        native_module()
