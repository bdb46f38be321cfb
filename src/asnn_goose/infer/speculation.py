"""Drafting and verifying: several tokens for one reading of the weights, drawn as ever.

A draft proposes some tokens, the student reads them in one call, and those are kept that it would
have drawn: greedy text is the same, word for word, and drawn text has the same distribution
(Leviathan, Kalman and Matias 2023, arXiv 2211.17192; Chen et al. 2023, arXiv 2302.01318).
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asnn_goose.infer.backend import SequenceState
from asnn_goose.infer.drafts import Drafting, Proposal
from asnn_goose.infer.engine import Engine
from asnn_goose.infer.sampler import Drawer, Sampling

F32 = NDArray[np.float32]

MOST_UNREAD = 8
"""Tokens that are read again with every call after a refusal, before they are read for good: in
company each costs a fraction of what a call of their own would."""


class Verdict(NamedTuple):
    """How many proposals are kept, and these with the token after them."""

    kept: int
    tokens: list[int]


class Ahead(NamedTuple):
    """A state that has read a whole proposal, and how much of the text that makes."""

    state: SequenceState
    settled: int


class Speculation:
    """Tokens that continue a prompt, up to `limit`, until one is in `ends` (not yielded).

    Once the iteration is over, by itself or because it was closed, the state has read the prompt
    and what was yielded but for `unread`, which is at most the last token: as without a draft.
    """

    def __init__(
        self,
        engine: Engine,
        state: SequenceState,
        prompt: Sequence[int],
        *,
        drafting: Drafting,
        drawer: Drawer,
        limit: int,
        ends: Collection[int] = (),
    ) -> None:
        self._engine, self._state, self._drafting = engine, state, drafting
        self._drawer, self._limit, self._ends = drawer, limit, ends
        # The state has read `_settled` tokens of the text; `_ahead`, if any, waits to be shown.
        self._text, self._settled = list(prompt), 0
        self._ahead: Ahead | None = None
        self.unread = list(prompt)

    def tokens(self) -> Generator[int, None, None]:
        """One token after the other, once."""
        shown = 0
        try:
            while shown < self._limit:
                for token in self._next(most=self._limit - shown - 1):
                    if token in self._ends:
                        self.unread = []
                        return
                    self._text.append(token)
                    self._drawer.see([token])
                    self.unread, shown = [token], shown + 1
                    yield token
        finally:
            self._settle()

    def _next(self, *, most: int) -> list[int]:
        """The next tokens: what is kept of a proposal, and one more."""
        unread, rough = self._take_ahead(), self._drawer.sampling.rough
        proposals: list[Proposal] = []
        if not self._settled:
            self._drawer.see(self._text)
            self._drafting.draft.begin()
        elif most:
            most = min(most, self._drafting.tokens)
            proposals = self._drafting.draft.propose(
                self._text, unread, state=self._state, drawer=self._drawer, most=most
            )
        if not proposals:
            logits_V = self._engine.prefill(self._state, unread, **rough)
            self._settled += len(unread)
            return [self._drawer.draw(logits_V)]
        ids = unread + [proposal.token for proposal in proposals]
        ahead = self._engine.fork(self._state)
        (rows,) = self._engine.score_each([ahead], [ids], **rough)
        verdict = verified(rows[len(unread) - 1 :], proposals, drawer=self._drawer)
        self._drafting.count(proposed=len(proposals), kept=verdict.kept)
        if verdict.kept == len(proposals):
            self._ahead = Ahead(ahead, self._settled + len(ids))
        elif len(unread) > MOST_UNREAD:
            self._read(len(self._text))
        return verdict.tokens

    def _take_ahead(self) -> list[int]:
        """Go on from where all proposals were kept; the tokens that are still to be read."""
        if self._ahead is not None:
            self._state.assign(self._ahead.state)
            self._settled, self._ahead = self._ahead.settled, None
        return self._text[self._settled :]

    def _read(self, end: int) -> None:
        if end > self._settled:
            # Nobody asks for these logits: one that is exact is enough.
            self._engine.prefill(self._state, self._text[self._settled : end], missed=1.0)
            self._settled = end

    def _settle(self) -> None:
        """Bring the state to what was shown, which may be less than was read ahead."""
        end = len(self._text) - len(self.unread)
        if self._ahead is not None and self._ahead.settled == end:
            self._take_ahead()
        self._read(end)


def generate(
    engine: Engine,
    state: SequenceState,
    tokens: Sequence[int],
    *,
    drafting: Drafting,
    sampling: Sampling,
    limit: int,
    seed: int | None = None,
    ends: Collection[int] = (),
) -> Generator[int, None, None]:
    """As `Engine.generate`, with drafts; the state stands right once the iteration is over."""
    drawer = Drawer(sampling, seed=seed, native=engine.backend == "native")
    return Speculation(
        engine, state, tokens, drafting=drafting, drawer=drawer, limit=limit, ends=ends
    ).tokens()


def verified(rows: F32, proposals: Sequence[Proposal], *, drawer: Drawer) -> Verdict:
    """What stands of n proposals, given logits (n + 1, V) of their places and the one behind them.

    A proposal x that was drawn with probability q(x) stands with min(1, p(x) / q(x)); the first
    that does not is replaced by a token drawn in proportion to max(0, p - q).
    """
    tokens: list[int] = []
    for logits_V, proposal in zip(rows, proposals, strict=False):
        wanted = drawer.drawing(logits_V, after=tokens)
        ratio = wanted.of(proposal.token) / proposal.drawing.of(proposal.token)
        if ratio < 1 and drawer.uniform() >= ratio:
            replaced = wanted.without(proposal.drawing)
            return Verdict(len(tokens), [*tokens, replaced.at(drawer.uniform())])
        tokens.append(proposal.token)
    last = drawer.drawing(rows[-1], after=tokens)
    return Verdict(len(tokens), [*tokens, last.at(drawer.uniform())])
