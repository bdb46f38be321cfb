"""A packed student on the engine, read for measuring; nothing of it needs torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from asnn_goose.eval.readers.reader import F32, Likelihood, Pair, Read, ReadEach, judged
from asnn_goose.infer.backend import SequenceState
from asnn_goose.infer.engine import Engine
from asnn_goose.infer.text import Vocabulary


class EngineReader:
    """Contexts that several pairs share are read once and the state is forked."""

    reach: int | None = None

    def __init__(self, engine: Engine, vocabulary: Vocabulary, *, name: str) -> None:
        self.name, self.vocabulary, self._engine = name, vocabulary, engine

    def score(self, pairs: Sequence[Pair]) -> list[Likelihood]:
        """The last token of a continuation is not read: nothing comes after it."""
        contexts = list(dict.fromkeys(tuple(context) for context, _ in pairs))
        states = [self._engine.start() for _ in contexts]
        after_context = dict(zip(contexts, self._engine.advance(states, contexts), strict=True))
        forks = self._forks(pairs, dict(zip(contexts, states, strict=True)))
        found = []
        for number, (context, after) in enumerate(pairs):
            first_1V = after_context[tuple(context)][None]
            logits_nV = np.concatenate((first_1V, forks[number])) if number in forks else first_1V
            of = judged(logits_nV, after)
            found.append(Likelihood(-float(of.nats_t.sum()), bool(of.likeliest_t.all())))
        return found

    def _forks(
        self, pairs: Sequence[Pair], states: dict[tuple[int, ...], SequenceState]
    ) -> dict[int, F32]:
        """Place of a pair -> logits after all tokens of its continuation but the last, if any."""
        longer = [number for number, (_, after) in enumerate(pairs) if len(after) > 1]
        if not longer:
            return {}
        forked = [self._engine.fork(states[tuple(pairs[number][0])]) for number in longer]
        found = self._engine.score_each(forked, [pairs[number][1][:-1] for number in longer])
        return dict(zip(longer, found, strict=True))

    def read(self, ids: Sequence[int]) -> Iterator[Read]:
        """The state goes through the whole text."""
        place, state = 1, self._engine.start()
        for logits_nV in self._engine.score(state, ids[:-1]):
            yield judged(logits_nV, ids[place : place + len(logits_nV)])
            place += len(logits_nV)

    def batch(self) -> ReadEach:
        """States are made at the first call."""
        states: list[SequenceState] = []

        def read(tokens: list[list[int]]) -> F32:
            if not states:
                states.extend(self._engine.start() for _ in tokens)
            return self._engine.advance(states, tokens)

        return read
