"""Prompts that are being read and answers that are being written, each with its state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asnn_goose.infer.backend import SequenceState
from asnn_goose.infer.engine import Engine
from asnn_goose.infer.server.job import Begun, Choice, Ended, Event, Failed, Job, Piece, Reason
from asnn_goose.infer.server.state_store import StateStore

F32 = NDArray[np.float32]


class Prefill:
    """A prompt on its way, from the longest beginning that is kept.

    begun  what there is to tell about it
    state  has read the prompt up to `position`
    """

    def __init__(self, job: Job, store: StateStore) -> None:
        self.job, self._store = job, store
        self.position, self.state = store.begin(job.prompt)
        self.begun = Begun(cached=self.position)
        self._marks = store.marks(job.prompt, self.position, job.boundaries)

    @property
    def over(self) -> bool:
        """Whether all is read."""
        return self.position == len(self.job.prompt)

    @property
    def until_mark(self) -> int:
        """Tokens to the next place where a state is kept, or to the end."""
        return (self._marks[0] if self._marks else len(self.job.prompt)) - self.position

    def next(self, count: int) -> Sequence[int]:
        """The tokens that are to be read next."""
        return self.job.prompt[self.position : self.position + count]

    def advance(self, count: int) -> None:
        """So many tokens are read."""
        self.position += count
        if self._marks and self.position == self._marks[0]:
            self._marks.pop(0)
            # A copy: this one goes on.
            self._store.keep(self.job.prompt[: self.position], self.state.copy())
        if self.over and not self.job.choices:
            self._store.keep(self.job.prompt, self.state)

    def answers(self, engine: Engine) -> list[Answer]:
        """The answers that begin here; each has a state of its own."""
        # The prompt is read once for all of its answers; a copy costs some megabytes, reading it
        # the whole prompt.
        states = [self.state, *(engine.fork(self.state) for _ in self.job.choices[1:])]
        pairs = zip(self.job.choices, states, strict=False)
        return [Answer(self.job, choice, state) for choice, state in pairs]


class Answer:
    """An answer on its way.

    unread  the last token drawn, which the state has not read
    over    whether it has ended; failed: because it could not go on
    """

    def __init__(self, job: Job, choice: Choice, state: SequenceState) -> None:
        self.job, self.choice, self.state = job, choice, state
        self.unread, self.over, self.failed = -1, False, False

    @property
    def read(self) -> Sequence[int]:
        """What the state has read: of what was drawn, all but the last token."""
        drawn = self.choice.drawn
        return [*self.job.prompt, *drawn][: self.state.position]

    def take(self, logits_V: F32, spikes: NDArray[Any] | None) -> list[tuple[Job, Event]]:
        """Draw the next token and tell of it, and of the end, if it is that."""
        choice = self.choice
        try:
            drawn = choice.chooser.choose(logits_V)
        except ValueError as error:  # logits that are no numbers, a grammar that is stuck
            self.over = self.failed = self.job.cancelled = True
            return [(self.job, Failed(status=500, message=str(error)))]
        if drawn.token in choice.ends:
            return self.end("stop")
        self.unread = drawn.token
        choice.drawn.append(drawn.token)
        text = choice.writer.write(drawn.token)
        shares = spikes.astype(np.float32) if spikes is not None and self.job.counted else None
        piece = Piece(choice=choice.number, drawn=drawn, text=text, spikes=shares)
        told: list[tuple[Job, Event]] = [(self.job, piece)]
        if choice.writer.stopped or choice.chooser.over:
            told += self.end("stop")
        elif len(choice.drawn) >= choice.limit:
            told += self.end("length")
        return told

    def end(self, reason: Reason) -> list[tuple[Job, Event]]:
        """Let it be over."""
        self.over = True
        number, text = self.choice.number, self.choice.writer.rest()
        return [(self.job, Ended(choice=number, text=text, reason=reason, read=self.read))]
