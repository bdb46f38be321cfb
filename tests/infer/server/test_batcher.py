"""Requests join and leave between steps, and none notices the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asnn_goose.infer.engine import Engine
from asnn_goose.infer.sampler import Sampling
from asnn_goose.infer.server.answer_text import AnswerText
from asnn_goose.infer.server.batcher import QueueFullError
from asnn_goose.infer.server.chooser import Chooser, Manner
from asnn_goose.infer.server.job import Begun, Choice, Ended, Failed, Job
from asnn_goose.infer.server.sequences import Answer
from asnn_goose.infer.text import Vocabulary, read_vocabulary

from .batcher_bench import SAMPLING, Bench, solo

RANDOM = np.random.default_rng(5)
PROMPTS = [RANDOM.integers(0, 256, length).tolist() for length in (1, 40, 3, 90, 17, 64)]

Make = Callable[..., Job]


@pytest.fixture(scope="module")
def vocabulary(folder: Path) -> Vocabulary:
    return read_vocabulary(folder, {"eos_token_id": None})


@pytest.fixture
def job(vocabulary: Vocabulary) -> Make:
    def make(
        prompt: Sequence[int], *, seed: int = 0, limit: int = 12, count: int = 1, **more: Any
    ) -> Job:
        manner = Manner(sampling=more.pop("sampling", SAMPLING))
        choices = [
            Choice(
                number=number,
                chooser=Chooser(manner, prompt=prompt, seed=seed + number, native=True),
                writer=AnswerText(vocabulary, prompt=prompt, stops=()),
                ends=more.get("ends", frozenset()),
                limit=limit,
            )
            for number in range(count)
        ]
        more.pop("ends", None)
        return Job(prompt=prompt, choices=choices, **more)

    return make


MakeBench = Callable[..., Bench]


@pytest.fixture
def bench(engine: Engine) -> Iterator[MakeBench]:
    made: list[Bench] = []

    def make(*, start: bool = True, **limits: Any) -> Bench:
        made.append(Bench(engine, **limits))
        if start:
            made[-1].batcher.start()
        return made[-1]

    yield make
    for found in made:
        if not found.batcher._thread.is_alive():
            found.batcher.start()
        found.batcher.close()


@pytest.fixture
def rows(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Tokens per sequence of every call of the engine, as they come."""
    seen: list[list[int]] = []
    advance = Engine.advance

    def watched(self: Engine, states: Any, tokens: Any, **more: Any) -> Any:
        seen.append([len(text) for text in tokens])
        return advance(self, states, tokens, **more)

    monkeypatch.setattr(Engine, "advance", watched)
    return seen


def test_seeded_answers_are_those_of_a_solo_run(
    bench: MakeBench, job: Make, engine: Engine
) -> None:
    """Joining at different times, sliced and cached differently, in any company."""
    b = bench(slots=4, slice=3)
    jobs = [job(prompt, seed=n) for n, prompt in enumerate(PROMPTS)]
    for each in jobs[:3]:
        b.batcher.submit(each)
    b.hear()
    again = [job(prompt, seed=n) for n, prompt in enumerate(PROMPTS)]
    for each in [*jobs[3:], *again]:
        b.batcher.submit(each)
    b.until_over(*jobs, *again)
    for n, prompt in enumerate(PROMPTS):
        alone = solo(engine, prompt, seed=n)
        assert b.tokens(jobs[n]) == b.tokens(again[n]) == alone
    assert b.store.hits


def test_many_are_drawn_for_by_several_threads(
    bench: MakeBench, job: Make, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each keeps its own generator and text, and hears of its tokens in their order."""
    b = bench(slots=16, start=False)
    b.batcher._threads, names = 2, set[str]()
    take = Answer.take

    def watched(self: Answer, *what: Any) -> Any:
        names.add(threading.current_thread().name)
        return take(self, *what)

    monkeypatch.setattr(Answer, "take", watched)
    jobs = [job(PROMPTS[n % len(PROMPTS)], seed=n) for n in range(11)]
    for each in jobs:
        b.batcher.submit(each)
    b.batcher.start()
    b.until_over(*jobs)
    for n, each in enumerate(jobs):
        assert b.tokens(each) == solo(engine, PROMPTS[n % len(PROMPTS)], seed=n)
    assert any(name.startswith("draw") for name in names)


def test_branches_are_what_each_would_be_alone(
    bench: MakeBench, job: Make, engine: Engine, rows: list[list[int]]
) -> None:
    b = bench(slots=4)
    many = job(PROMPTS[1], seed=7, count=3)
    b.batcher.submit(many)
    b.until_over(many)
    read = sum(sum(lengths) for lengths in rows)
    for number in range(3):
        assert b.tokens(many, number) == solo(engine, PROMPTS[1], seed=7 + number)
    assert read == len(PROMPTS[1]) + 3 * (12 - 1)


def test_a_long_prompt_is_read_in_slices_beside_an_answer(
    bench: MakeBench, job: Make, rows: list[list[int]]
) -> None:
    b = bench(slots=4, slice=5)
    speaking = job([1], limit=60)
    b.batcher.submit(speaking)
    b.hear()
    long = job(PROMPTS[3], limit=1)
    b.batcher.submit(long)
    b.until_over(speaking, long)
    beside = [lengths for lengths in rows if len(lengths) == 2]
    assert len(beside) >= len(PROMPTS[3]) // 5
    assert all(lengths[0] == 1 and lengths[1] <= 5 for lengths in beside)


def test_readers_take_turns(bench: MakeBench, job: Make) -> None:
    """A short prompt that comes after a long one does not wait for all of it."""
    b = bench(slots=4, slice=4)
    speaking, long, short = (
        job([1], limit=200),
        job(list(range(200)), limit=1),
        job([2, 3], limit=1),
    )
    b.batcher.submit(speaking)
    b.hear()
    b.batcher.submit(long)
    b.batcher.submit(short)
    b.until_over(short)
    assert not b.tokens(long)
    b.until_over(long)


def test_slots_are_given_in_the_order_of_asking(bench: MakeBench, job: Make) -> None:
    b = bench(start=False, slots=2, queue=10)
    jobs = [job([n], limit=5) for n in range(6)]
    for each in jobs:
        b.batcher.submit(each)
    b.batcher.start()
    order: list[Job] = []
    while len(order) < 6:
        told = b.told.get(timeout=30)
        order += [found for found, event in told if isinstance(event, Begun)]
    assert order == jobs


def test_a_full_queue_turns_away(bench: MakeBench, job: Make) -> None:
    b = bench(start=False, slots=1, queue=2)
    for _ in range(2):
        b.batcher.submit(job([1]))
    with pytest.raises(QueueFullError):
        b.batcher.submit(job([1]))


def test_a_vanished_client_frees_its_slot_within_a_step(
    bench: MakeBench, job: Make, rows: list[list[int]]
) -> None:
    b = bench(slots=1)
    gone, waits = job([1], limit=10**6), job([2], limit=2)
    b.batcher.submit(gone)
    while not b.tokens(gone):
        b.hear()
    b.batcher.submit(waits)
    b.batcher.cancel(gone)
    before = b.batcher.steps
    b.until_over(waits)
    # The step that was going on, one to read, one to draw again.
    assert b.batcher.steps - before <= 4
    assert b.batcher.taken == 0
    assert not any(isinstance(event, Ended) for event in b.events[gone])


def test_time_runs_out(bench: MakeBench, job: Make) -> None:
    b = bench(slots=1, time=1)
    speaking = job([1], limit=10**6, deadline=time.monotonic() + 0.5)
    waiting = job([2], deadline=time.monotonic() + 0.2)
    b.batcher.submit(speaking)
    b.batcher.submit(waiting)
    b.until_over(speaking, waiting)
    last = b.events[speaking][-1]
    assert isinstance(last, Ended)
    assert last.reason == "length"
    assert b.events[waiting] == [Failed(status=503, message="not begun within 1 s: try again")]


def test_an_end_token_ends_and_the_next_turn_reads_only_what_is_new(
    bench: MakeBench, job: Make, rows: list[list[int]], engine: Engine
) -> None:
    b = bench(slots=1)
    alone = solo(engine, PROMPTS[1], seed=1)
    first = job(PROMPTS[1], seed=1, ends=frozenset({alone[5]} - {*alone[:5]}))
    b.batcher.submit(first)
    b.until_over(first)
    assert b.tokens(first) == alone[:5]
    rows.clear()
    following = [*PROMPTS[1], *alone[:5], 9, 9]
    second = job(following, seed=2, limit=1)
    b.batcher.submit(second)
    b.until_over(second)
    assert b.events[second][0] == Begun(cached=len(PROMPTS[1]) + 5)
    assert rows == [[2]]


def test_settled_texts_are_read_when_there_is_nothing_else(
    bench: MakeBench, job: Make, rows: list[list[int]]
) -> None:
    b = bench(slots=2)
    text = PROMPTS[3]
    b.batcher.settle(Job(prompt=text, choices=()))
    while len(b.store) < 1:
        time.sleep(0.01)
    found = job([*text, 5], limit=1)
    b.batcher.submit(found)
    b.until_over(found)
    assert Begun(cached=len(text)) in b.events[found]


def test_a_broken_step_fails_its_jobs_and_nothing_else(
    bench: MakeBench, job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    b = bench(slots=2)
    with monkeypatch.context() as patch:
        patch.setattr(Engine, "advance", lambda *_, **__: 1 / 0)
        broken = job([1])
        b.batcher.submit(broken)
        b.until_over(broken)
    assert isinstance(b.events[broken][-1], Failed)
    fine = job([1], limit=3)
    b.batcher.submit(fine)
    b.until_over(fine)
    assert len(b.tokens(fine)) == 3


def test_logits_that_are_no_numbers_fail_one_answer_only(
    bench: MakeBench, job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    advance = Engine.advance

    def poisoned(self: Engine, states: Any, tokens: Any, **more: Any) -> Any:
        logits = advance(self, states, tokens, **more).copy()
        logits[[row for row, text in enumerate(tokens) if 66 in text]] = np.nan
        return logits

    monkeypatch.setattr(Engine, "advance", poisoned)
    b = bench(slots=2)
    sick, well = job([66], limit=3), job([1], limit=3, sampling=Sampling(greedy=True))
    b.batcher.submit(sick)
    b.batcher.submit(well)
    b.until_over(sick, well)
    assert "NaN" in str(b.events[sick][-1])
    assert isinstance(b.events[well][-1], Ended)
    assert b.batcher.taken == 0
