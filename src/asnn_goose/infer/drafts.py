"""Who proposes tokens for `speculation`: the text itself, or a cheaper student."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from asnn_goose.infer.backend import EngineError, SequenceState
from asnn_goose.infer.engine import Engine
from asnn_goose.infer.fewer_steps import with_steps
from asnn_goose.infer.sampler import Drawer, Drawing

TOKENS = 4
"""Tokens of a proposal unless told otherwise."""

ALIKE = 2
"""Words that must have come before for what followed them to be proposed."""


class Proposal(NamedTuple):
    """A token, and the distribution that it was drawn from."""

    token: int
    drawing: Drawing


class Draft(Protocol):
    """Whoever proposes; how well decides the speed and nothing else."""

    def begin(self) -> None:
        """A text begins."""
        ...

    def propose(
        self,
        text: Sequence[int],
        unread: Sequence[int],
        *,
        state: SequenceState,
        drawer: Drawer,
        most: int,
    ) -> list[Proposal]:
        """At most `most` tokens that may follow `text`; `state` has read all but `unread` of it."""
        ...


class Drafting:
    """A draft, how many tokens it proposes at a time, and what became of them.

    Raises ValueError for less than one token.
    """

    def __init__(self, draft: Draft, *, tokens: int = TOKENS) -> None:
        if tokens < 1:
            raise ValueError(f"draft tokens = {tokens}: must be at least 1")
        self.draft, self.tokens = draft, tokens
        self.proposed = self.kept = 0

    def count(self, *, proposed: int, kept: int) -> None:
        """Note what became of a proposal."""
        self.proposed, self.kept = self.proposed + proposed, self.kept + kept

    def __str__(self) -> str:
        share = self.kept / self.proposed if self.proposed else 0.0
        return f"{self.kept} of {self.proposed} drafted tokens kept ({share:.0%})"


class TextDraft:
    """What followed when the last words came before; costs nothing, and is certain of itself."""

    def begin(self) -> None:
        """Nothing is kept from text to text."""

    def propose(
        self,
        text: Sequence[int],
        unread: Sequence[int],
        *,
        state: SequenceState,
        drawer: Drawer,
        most: int,
    ) -> list[Proposal]:
        """What came after the latest place with the same last words, if there is one."""
        last = list(text[-ALIKE:])
        for end in range(len(text) - 1, ALIKE - 1, -1):
            if list(text[end - ALIKE : end]) == last:
                return [Proposal(token, Drawing.certain(token)) for token in text[end : end + most]]
        return []


class StudentDraft:
    """Another engine, which draws as the student does.

    shares  whether its states are those of the student: then it starts from what the student has
            read, and reads nothing twice
    """

    def __init__(self, engine: Engine, *, shares: bool) -> None:
        self._engine = engine
        self._own: SequenceState | None = None
        self._shares = shares

    def begin(self) -> None:
        """A text begins, of which a student with states of its own has read nothing."""
        self._own = None if self._shares else self._engine.start()

    def propose(
        self,
        text: Sequence[int],
        unread: Sequence[int],
        *,
        state: SequenceState,
        drawer: Drawer,
        most: int,
    ) -> list[Proposal]:
        """Tokens that this engine draws one after the other."""
        if self._own is not None:
            settled = text[self._own.position : len(text) - len(unread)]
            if settled:
                self._engine.prefill(self._own, settled, missed=1.0)
        ahead = self._engine.fork(state if self._own is None else self._own)
        found: list[Proposal] = []
        ids = list(unread)
        for _ in range(most):
            logits_V = self._engine.prefill(ahead, ids, **drawer.sampling.rough)
            drawing = drawer.drawing(logits_V, after=[proposal.token for proposal in found])
            found.append(Proposal(drawing.at(drawer.uniform()), drawing))
            ids = [found[-1].token]
        return found


def student_draft(engine: Engine, other: Engine) -> StudentDraft:
    """Another packed student as the draft. Raises EngineError where its vocabulary is another."""
    if other.vocab_size != engine.vocab_size:
        raise EngineError(
            f"the draft knows {other.vocab_size} words and the student {engine.vocab_size}: they"
            " must share a tokenizer"
        )
    return StudentDraft(other, shares=False)


def fewer_steps_draft(engine: Engine, steps: int) -> StudentDraft:
    """The same student with fewer steps of spikes. Raises EngineError where it has no more."""
    model = with_steps(engine.model, steps)
    other = Engine(model, threads=engine.threads, backend=engine.backend, states=engine.states)
    return StudentDraft(other, shares=True)
