"""Drafts change the speed and nothing else: the same greedy words, the same distribution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from asnn_goose.infer import speculation
from asnn_goose.infer.backend import EngineError
from asnn_goose.infer.drafts import (
    Draft,
    Drafting,
    Proposal,
    TextDraft,
    fewer_steps_draft,
    student_draft,
)
from asnn_goose.infer.engine import Engine
from asnn_goose.infer.fewer_steps import with_steps
from asnn_goose.infer.sampler import Drawer, Drawing, Sampling
from asnn_goose.infer.speculation import Speculation, verified

pytest.importorskip("asnn_goose._native")

Make = Callable[..., Any]
GREEDY = Sampling(greedy=True)
THREE = {"*": {"planes": 1, "steps": 3, "threshold": 4.0, "rotate": True}}
PROMPT = [5, 6, 7, 5]


@pytest.fixture(scope="module")
def engine(student: Make, packed: Make) -> Engine:
    return Engine(packed(student(num_hidden_layers=2, precision=THREE, mlp="gated")), threads=1)


@pytest.fixture(scope="module")
def other(student: Make, packed: Make) -> Engine:
    return Engine(packed(student(num_hidden_layers=1)), threads=1)


DRAFTS: dict[str, Callable[[Engine, Engine], Draft]] = {
    "text": lambda engine, other: TextDraft(),
    "one step": lambda engine, other: fewer_steps_draft(engine, 1),
    "two steps": lambda engine, other: fewer_steps_draft(engine, 2),
    "another student": student_draft,
    "itself": lambda engine, other: student_draft(engine, engine),
}


@pytest.mark.parametrize("penalty", [1.0, 1.3])
@pytest.mark.parametrize("make", DRAFTS.values(), ids=DRAFTS)
def test_greedy_words_are_the_same(
    engine: Engine, other: Engine, make: Callable[[Engine, Engine], Draft], penalty: float
) -> None:
    sampling = Sampling(greedy=True, repetition_penalty=penalty)
    wanted = list(engine.generate(engine.start(), PROMPT, sampling=sampling, limit=40))
    drafting = Drafting(make(engine, other), tokens=3)
    found = speculation.generate(
        engine, engine.start(), PROMPT, drafting=drafting, sampling=sampling, limit=40
    )
    assert list(found) == wanted
    assert 0 <= drafting.kept <= drafting.proposed
    if make is DRAFTS["itself"]:
        assert drafting.kept == drafting.proposed == 29  # three of every four tokens


@pytest.mark.parametrize("cut", [0, 1, 3, 4, 9])
@pytest.mark.parametrize("make", DRAFTS.values(), ids=DRAFTS)
def test_the_state_stands_where_the_text_was_left(
    engine: Engine, other: Engine, make: Callable[[Engine, Engine], Draft], cut: int
) -> None:
    state, drafting = engine.start(), Drafting(make(engine, other), tokens=4)
    drawer = Drawer(GREEDY)
    found = Speculation(engine, state, PROMPT, drafting=drafting, drawer=drawer, limit=30)
    tokens = found.tokens()
    shown = [next(tokens) for _ in range(cut)]
    tokens.close()
    text = PROMPT + shown
    assert found.unread == (shown[-1:] or PROMPT)
    read = text[: len(text) - len(found.unread)]
    assert state.position == len(read)
    if read:
        fresh = engine.start()
        engine.prefill(fresh, read)
        np.testing.assert_allclose(
            engine.step([state], [3])[0], engine.step([fresh], [3])[0], atol=1e-4
        )


def test_an_end_token_leaves_nothing_unread(engine: Engine, other: Engine) -> None:
    text = list(engine.generate(engine.start(), PROMPT, sampling=GREEDY, limit=9))
    end = text[5]
    wanted = text[: text.index(end)]
    state, drawer = engine.start(), Drawer(GREEDY)
    found = Speculation(
        engine,
        state,
        PROMPT,
        drafting=Drafting(student_draft(engine, engine)),
        drawer=drawer,
        limit=9,
        ends={end},
    )
    assert list(found.tokens()) == wanted
    assert found.unread == []
    assert state.position == len(PROMPT) + len(wanted)


def logits(p: list[float]) -> np.ndarray:
    return np.log(np.array(p, np.float32))


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("sampling", [Sampling(), Sampling(top_p=0.85, temperature=0.7)])
def test_what_is_kept_has_the_students_distribution(native: bool, sampling: Sampling) -> None:
    """Two places: the draft proposes both, and each word comes as often as without it."""
    first, second = logits([0.5, 0.3, 0.15, 0.05]), logits([0.1, 0.2, 0.3, 0.4])
    guess = logits([0.1, 0.2, 0.2, 0.5])
    drawer = Drawer(sampling, seed=0, native=native)
    q = drawer.drawing(guess)
    came, followed, rounds = np.zeros(4), np.zeros(4), 4000
    for _ in range(rounds):
        proposals = [Proposal(q.at(drawer.uniform()), q) for _ in range(2)]
        rows = np.stack([first, second, second])
        kept, tokens = verified(rows, proposals, drawer=drawer)
        assert len(tokens) == kept + 1
        came[tokens[0]] += 1
        if kept:
            followed[tokens[1]] += 1
    for counts, row in ((came, first), (followed, second)):
        wanted = np.zeros(4)
        drawing = drawer.drawing(row)
        wanted[drawing.ids] = drawing.p
        apart = np.abs(counts / counts.sum() - wanted).max()
        assert apart < 4 * (0.25 / counts.sum()) ** 0.5


def test_compiled_and_numpy_drawings_are_the_same() -> None:
    random = np.random.default_rng(0)
    z = random.standard_normal(500).astype(np.float32) * 3
    for sampling in (
        Sampling(),
        Sampling(top_p=0.9, temperature=0.8),
        Sampling(top_k=7),
        Sampling(min_p=0.1, top_p=0.99),
        Sampling(repetition_penalty=1.5, top_p=0.5),
    ):
        rows = []
        for native in (True, False):
            drawing = Drawer(sampling, native=native).drawing(z, after=[3, 4])
            row = np.zeros(500)
            row[drawing.ids] = drawing.p
            rows.append(row)
        np.testing.assert_allclose(rows[0], rows[1], atol=1e-6)


def test_what_is_left_without_another() -> None:
    p = Drawing(np.array([4, 1, 2]), np.array([0.5, 0.25, 0.25]))
    q = Drawing(np.array([1, 9]), np.array([0.75, 0.25]))
    rest = p.without(q)
    assert rest.of(4) == pytest.approx(2 / 3)
    assert rest.of(2) == pytest.approx(1 / 3)
    assert rest.of(1) == 0
    assert p.without(p) is p


def test_the_text_is_its_own_draft() -> None:
    def proposed(text: list[int], most: int = 3) -> list[int]:
        found = TextDraft().propose(text, [], state=None, drawer=None, most=most)  # type: ignore[arg-type]
        return [proposal.token for proposal in found]

    assert proposed([1, 2, 3, 4, 5, 1, 2]) == [3, 4, 5]
    assert proposed([1, 2, 7, 1, 2, 8, 1, 2]) == [8, 1, 2]
    assert proposed([1, 2, 3, 1, 2], most=1) == [3]
    assert proposed([9, 9, 9, 9]) == [9]
    assert proposed([1, 2, 3]) == proposed([1]) == []


def test_wrong_drafts_are_named(engine: Engine, student: Make, packed: Make) -> None:
    with pytest.raises(ValueError, match="draft tokens = 0"):
        Drafting(TextDraft(), tokens=0)
    for steps in (0, 3):
        with pytest.raises(EngineError, match=f"draft steps = {steps}: .* student's own 3"):
            fewer_steps_draft(engine, steps)
    foreign = Engine(packed(student(num_hidden_layers=1, vocab_size=90)), threads=1)
    with pytest.raises(EngineError, match="90 words and the student 97"):
        student_draft(engine, foreign)


def test_fewer_steps_keep_the_range_of_a_fixed_amplitude(
    student: Make, packed: Make, with_amplitudes: Make
) -> None:
    model = packed(with_amplitudes(student(num_hidden_layers=1, precision=THREE, mlp="gated")))
    name = next(iter(model.matrices))
    own = float(model.tensors[f"{name}.amplitude"][0])
    one, two = with_steps(model, 1), with_steps(model, 2)
    assert one.matrices[name]["steps"] == 1
    assert two.tensors[f"{name}.amplitude"][0] == pytest.approx(own * 13 / 4)
    assert one.tensors[f"{name}.amplitude"][0] == pytest.approx(own * 6.5)
    assert one.tensors[f"{name}.fires"][0] == pytest.approx(own * 3.25)
    assert list(Engine(one, threads=1).generate(Engine(one).start(), PROMPT, limit=3))
