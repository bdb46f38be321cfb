"""How the next token of one answer is chosen, and what is told about the choice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from asnn_goose.infer.sampler import Drawer, Sampling, log_total
from asnn_goose.infer.server.grammar import Grammar

F32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """Everything that decides an answer, given the logits.

    sampling            temperature and what cuts off, see there
    frequency_penalty   taken off a token's logit for every time that the answer has it
    presence_penalty    taken off once, if the answer has it
    bias                added to the logits of tokens
    logprobs            how many of the likeliest tokens to report with each; None: not even the
                        drawn one's log-probability
    """

    sampling: Sampling
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    bias: Mapping[int, float] = field(default_factory=dict)
    logprobs: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A token; its log-probability, and the likeliest tokens with theirs.

    These are the model's own: before penalties, bias, grammar and temperature.
    """

    token: int
    logprob: float | None = None
    likeliest: Sequence[tuple[int, float]] = ()


class Chooser:
    """Chooses one token after another; the same seed and logits give the same tokens.

    prompt  what stands before, which the repetition penalty counts as well
    """

    def __init__(
        self,
        manner: Manner,
        *,
        prompt: Sequence[int],
        seed: int | None,
        native: bool,
        grammar: Grammar | None = None,
    ) -> None:
        self._manner, self._grammar, self._native = manner, grammar, native
        self._drawer = Drawer(manner.sampling, seed=seed, native=native)
        self._drawer.see(prompt)
        self._drawn = Counter[int]()

    def choose(self, logits_V: F32) -> Drawn:
        """The next token. Raises EngineError for logits that are no numbers."""
        token = self._drawer.draw(self._changed(logits_V))
        self._drawer.see([token])
        self._drawn[token] += 1
        if self._grammar is not None:
            self._grammar.take(token)
        return reported(logits_V, token, self._manner.logprobs, native=self._native)

    @property
    def over(self) -> bool:
        """Whether the grammar, if any, lets nothing follow."""
        return self._grammar is not None and self._grammar.over

    def _changed(self, logits_V: F32) -> F32:
        """The logits with bias and penalties; a copy, as others may read the same."""
        manner = self._manner
        if manner.bias or self._grammar or manner.frequency_penalty or manner.presence_penalty:
            logits_V = logits_V.copy()
        for token, amount in manner.bias.items():
            logits_V[token] += amount
        if manner.frequency_penalty or manner.presence_penalty:
            for token, times in self._drawn.items():
                logits_V[token] -= manner.presence_penalty + times * manner.frequency_penalty
        if self._grammar is not None:
            # Last: a bias must not make a word likely that the grammar forbids.
            logits_V[~self._grammar.allowed()] = -np.inf
        return logits_V


def reported(logits_V: F32, token: int, logprobs: int | None, *, native: bool) -> Drawn:
    """A token with as many log-probabilities as are asked for."""
    if logprobs is None:
        return Drawn(token=token)
    first = _likeliest(logits_V, logprobs)
    total = log_total(logits_V, native=native)
    likeliest = [(int(i), float(logits_V[i]) - total) for i in first]
    return Drawn(token=token, logprob=float(logits_V[token]) - total, likeliest=likeliest)


def _likeliest(logits_V: F32, count: int) -> NDArray[np.int64]:
    """So many tokens, most likely first, ties by id."""
    if not count:
        return np.empty(0, np.int64)
    count = min(count, len(logits_V))
    # Only those that can be among them are sorted: all would take longer than the engine's step.
    least = np.partition(logits_V, -count)[-count]
    found = np.flatnonzero(logits_V >= least)
    return found[np.argsort(-logits_V[found], kind="stable")][:count]
