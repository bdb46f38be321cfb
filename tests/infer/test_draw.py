"""The one loop that reads and draws."""

from __future__ import annotations

import numpy as np

from asnn_goose.infer.draw import draw, draw_each
from asnn_goose.infer.sampler import Drawer, Sampling

WORDS = 50


class Counter:
    """The next token of every sequence is the number of tokens it has read."""

    def __init__(self, sequences: int = 1) -> None:
        self.read, self.calls = [0] * sequences, list[list[list[int]]]()

    def each(self, unread: list[list[int]]) -> np.ndarray:
        self.calls.append(unread)
        self.read = [n + len(ids) for n, ids in zip(self.read, unread, strict=True)]
        return np.eye(WORDS, dtype=np.float32)[self.read]

    def one(self, ids: list[int]) -> np.ndarray:
        return np.asarray(self.each([ids])[0])


def greedy(**settings: float) -> Drawer:
    return Drawer(Sampling(greedy=True, **settings))  # type: ignore[arg-type]


def test_every_token_but_the_last_is_read_once() -> None:
    model = Counter()
    assert list(draw(model.one, [7, 8, 9], drawer=greedy(), limit=3)) == [3, 4, 5]
    assert model.calls == [[[7, 8, 9]], [[3]], [[4]]]


def test_nothing_is_read_before_it_is_asked_for() -> None:
    model = Counter()
    drawn = draw(model.one, [7], drawer=greedy(), limit=9)
    assert model.calls == []
    next(drawn)
    assert model.calls == [[[7]]]
    assert list(draw(model.one, [7], drawer=greedy(), limit=0)) == []
    assert model.calls == [[[7]]]


def test_an_end_is_not_given_and_ends_it() -> None:
    assert list(draw(Counter().one, [7], drawer=greedy(), limit=9, ends={4})) == [1, 2, 3]


def test_prompt_and_drawn_tokens_are_remembered_for_the_penalty() -> None:
    drawer = greedy(repetition_penalty=1.5)
    drawn = list(draw(Counter().one, [7, 8], drawer=drawer, limit=3))
    assert drawer.seen == {7, 8, *drawn[:-1]}


def test_sequences_are_read_together_and_drawn_apart() -> None:
    model, drawers = Counter(2), [greedy(), greedy()]
    rows = draw_each(model.each, [[9], [9, 9, 9]], drawers=drawers)
    assert [next(rows), next(rows)] == [[1, 3], [2, 4]]
    assert model.calls[1] == [[1], [3]]
