"""One student that is served: its engine, its text side, and the way between the two threads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from functools import cached_property

from asnn_goose.chat_template import ChatTemplate, Message
from asnn_goose.infer.engine import Engine
from asnn_goose.infer.server.answer_text import AnswerText
from asnn_goose.infer.server.batcher import Batcher, QueueFullError, Told
from asnn_goose.infer.server.chooser import Chooser, Manner
from asnn_goose.infer.server.costs import Activity, Costs
from asnn_goose.infer.server.error_answers import ApiError, busy
from asnn_goose.infer.server.grammar import Grammar, Grammars
from asnn_goose.infer.server.job import Choice, Ended, Event, Failed, Job
from asnn_goose.infer.server.settings import Limits
from asnn_goose.infer.server.state_store import StateStore
from asnn_goose.infer.state_file import fingerprint
from asnn_goose.infer.text import Vocabulary
from asnn_goose.shape.slots import MatrixSlot, SiteSlot
from asnn_goose.shape.student import layout

RETRY = 2
"""Seconds after which one who was turned away may ask again, at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Prompts with their answers, to be written at the same time.

    prompts  tokens of each
    count    answers to each of them; number i of them all is drawn with seed + i
    text     a chat's one prompt as text, which its next turn will go on from; None of others
    """

    prompts: Sequence[Sequence[int]]
    manner: Manner
    count: int
    limit: int
    stops: Sequence[str] = ()
    seed: int | None = None
    grammar: Grammar | None = None
    boundaries: Sequence[int] = ()
    counted: bool = False
    text: str | None = None


class Student:
    """A student behind the server.

    name      what requests call it
    template  of chats; None where it was made from no instruct teacher
    Methods other than the constructor are for the server's event loop.
    """

    def __init__(
        self,
        name: str,
        engine: Engine,
        vocabulary: Vocabulary,
        *,
        template: ChatTemplate | None,
        store: StateStore,
        limits: Limits,
        costs: Costs,
    ) -> None:
        self.name, self.engine, self.vocabulary = name, engine, vocabulary
        self.template, self.store, self.limits, self.costs = template, store, limits, costs
        self.fingerprint = f"fp_{fingerprint(engine.model)}"
        self.created = int(time.time())
        self.batcher = Batcher(engine, store, limits, self._tell)
        self._queues = dict[Job, asyncio.Queue[tuple[Job, Event]]]()
        self._loop: asyncio.AbstractEventLoop | None = None

    def open(self) -> None:
        """Start the engine thread; answers come to the running event loop."""
        self._loop = asyncio.get_running_loop()
        self.batcher.start()

    def close(self) -> None:
        """Stop the engine thread after its step."""
        self.batcher.close()

    @cached_property
    def grammars(self) -> Grammars:
        """Made on first use: llguidance needs a second for a large vocabulary."""
        return Grammars(self.vocabulary, self.engine.vocab_size)

    @cached_property
    def activity(self) -> Activity:
        """How spikes are told of."""
        model = self.engine.model
        widths = {
            slot.name: slot.columns
            for slot in layout(dict(model.config))
            if isinstance(slot, MatrixSlot | SiteSlot)
        }
        possible = {
            name: widths[name] * int(model.matrices[name]["steps"]) for name in self.engine.spiking
        }
        return Activity(possible, self.costs)

    def boundaries(self, messages: Sequence[Message], ids: Sequence[int]) -> list[int]:
        """Where the system prompt of a conversation with these tokens ends, if it has one."""
        if self.template is None or len(messages) < 2 or messages[0]["role"] != "system":
            return []
        system = self.vocabulary.ids(self.template.render(messages[:1], answer=False))
        return [len(system)] if ids[: len(system)] == system else []

    async def answer(self, ask: Ask) -> AsyncGenerator[tuple[Job, Event], None]:
        """All that happens to an ask, until it is over.

        When the caller stops listening, the rest is cancelled. Raises ApiError where there is no
        room, or where the engine fails.
        """
        jobs = self._jobs(ask)
        queue = asyncio.Queue[tuple[Job, Event]]()
        left = {job: len(job.choices) for job in jobs}
        try:
            self._submit(jobs, queue)
            while any(left.values()):
                job, event = await queue.get()
                if isinstance(event, Failed):
                    raise ApiError(event.status, event.message, code="not_answered")
                left[job] -= isinstance(event, Ended)
                yield job, event
        # Also where the caller merely stopped to listen: its slots must be free at the next step.
        finally:
            for job in jobs:
                self._queues.pop(job, None)
                if left[job]:
                    self.batcher.cancel(job)

    async def settle(self, text: str, read: Sequence[int]) -> None:
        """Have a conversation read for a request that will go on from it.

        read  tokens of which a state is kept: as they were drawn, which may be others than those
              of the text when a client sends it back
        """
        ids = await asyncio.to_thread(self.vocabulary.ids, text)
        # Drawn and tokenised alike, its state is kept already.
        if ids[: len(read)] != list(read):
            self.batcher.settle(Job(prompt=ids, choices=()))

    def _submit(self, jobs: Sequence[Job], queue: asyncio.Queue[tuple[Job, Event]]) -> None:
        for job in jobs:
            self._queues[job] = queue
            try:
                self.batcher.submit(job)
            except QueueFullError:
                # As long as the queue takes at the speed so far, and some seconds more for who asks
                # again.
                mean = self.batcher.seconds / max(1, self.batcher.steps)
                seconds = RETRY + round(mean * self.limits.queue / self.limits.slots)
                raise busy(self.batcher.waiting, seconds=min(60, seconds)) from None

    def _jobs(self, ask: Ask) -> list[Job]:
        deadline = time.monotonic() + self.limits.time
        return [
            Job(
                prompt=prompt,
                choices=[
                    self._choice(ask, prompt, place * ask.count + number)
                    for number in range(ask.count)
                ],
                boundaries=ask.boundaries,
                deadline=deadline,
                counted=ask.counted,
            )
            for place, prompt in enumerate(ask.prompts)
        ]

    def _choice(self, ask: Ask, prompt: Sequence[int], number: int) -> Choice:
        chooser = Chooser(
            ask.manner,
            prompt=prompt,
            # Each answer its own: n equal answers are not what was asked for.
            seed=None if ask.seed is None else ask.seed + number,
            native=self.engine.backend == "native",
            grammar=ask.grammar and ask.grammar.copy(),
        )
        writer = AnswerText(self.vocabulary, prompt=prompt, stops=ask.stops)
        ends = self.vocabulary.ends
        return Choice(number=number, chooser=chooser, writer=writer, ends=ends, limit=ask.limit)

    def _tell(self, told: Told) -> None:
        """Called by the engine thread: one wake-up of the event loop for a whole step."""
        loop = self._loop
        assert loop is not None
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._spread, told)

    def _spread(self, told: Told) -> None:
        for job, event in told:
            if (queue := self._queues.get(job)) is not None:
                queue.put_nowait((job, event))
