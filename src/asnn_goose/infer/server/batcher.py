"""Continuous batching: requests join and leave between the steps of one engine thread.

A step advances every answer by one token and reads a slice of the prompts that wait, in one call
of the engine. An engine's logits are the same in any company and any slicing, and every answer has
a random generator of its own: so a seeded answer does not depend on who else is there.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from asnn_goose.infer.backend import SequenceState
from asnn_goose.infer.engine import Engine
from asnn_goose.infer.server.job import Event, Failed, Job
from asnn_goose.infer.server.sequences import Answer, Prefill
from asnn_goose.infer.server.settings import Limits
from asnn_goose.infer.server.state_store import StateStore
from asnn_goose.threads import usable_cores

F32 = NDArray[np.float32]

Told = Sequence[tuple[Job, Event]]

ALONE = 256
"""Tokens of prompts in a step in which nobody waits for the next token."""

TOGETHER = 4
"""Answers that a thread must have to draw for, or waking it would take longer."""

SETTLING = 4
"""Texts that wait to be read for later; the oldest goes first."""

logger = logging.getLogger(__name__)


class QueueFullError(Exception):
    """As many jobs wait as may."""


class Batcher:
    """The engine thread of one student.

    tell     called by the engine thread after a step with what has happened
    slots    answers that are written at the same time
    steps    steps so far; seconds: the time they took
    """

    def __init__(
        self, engine: Engine, store: StateStore, limits: Limits, tell: Callable[[Told], None]
    ) -> None:
        self._engine, self._store, self._limits, self._tell = engine, store, limits, tell
        self._changed = threading.Condition()
        self._waiting, self._later = deque[Job](), deque[Job](maxlen=SETTLING)
        self._reading, self._answers = deque[Prefill](), list[Answer]()
        self._closed, self.steps, self.seconds = False, 0, 0.0
        self._threads = engine.threads or usable_cores()
        self._drawers = ThreadPoolExecutor(self._threads, thread_name_prefix="draw")
        # One thread for all: the engine is fastest when every sequence moves in one call.
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def close(self) -> None:
        """End after the step that is going on; what is unfinished fails."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()
        self._drawers.shutdown()
        # After the thread, which may still be keeping a state.
        self._store.close()

    def submit(self, job: Job) -> None:
        """Let a job wait for its turn. Raises QueueFullError."""
        with self._changed:
            if len(self._waiting) >= self._limits.queue:
                raise QueueFullError
            self._waiting.append(job)
            self._changed.notify()

    def settle(self, job: Job) -> None:
        """Read a text for later, when there is nothing else to do."""
        with self._changed:
            self._later.append(job)
            self._changed.notify()

    def cancel(self, job: Job) -> None:
        """Nobody wants this any more: its slots are free from the next step on."""
        with self._changed:
            job.cancelled = True
            self._changed.notify()

    @property
    def waiting(self) -> int:
        """Jobs without a slot."""
        return len(self._waiting)

    @property
    def taken(self) -> int:
        """Slots that are in use."""
        return sum(len(r.job.choices) for r in tuple(self._reading)) + len(self._answers)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do, nor anything for later."""
        return not (self._waiting or self._later or self._reading or self._answers)

    def _run(self) -> None:
        while self._rest():
            told = [*self._clear(), *self._admit()]
            if self._reading or self._answers:
                told += self._guarded_step()
            if told:
                self._tell(told)
        failed = Failed(status=503, message="the server is closing")
        self._tell([(job, failed) for job in dict.fromkeys(self._jobs())])

    def _rest(self) -> bool:
        """Wait for something to do; False where the work is over."""
        with self._changed:
            while not (self._closed or self._waiting or self._reading or self._answers):
                # Only here, where nothing else is to be done: whoever waits is served first.
                if self._later:
                    self._waiting.append(self._later.popleft())
                    break
                self._changed.wait()
            return not self._closed

    def _clear(self) -> Told:
        """Let go of jobs that nobody waits for, or that took too long."""
        now = time.monotonic()
        over = {job for job in self._jobs() if job.cancelled or now > job.deadline}
        told: list[tuple[Job, Event]] = []
        for answer in [a for a in self._answers if a.job in over]:
            told += answer.end("length")
        silent = over - {job for job, _ in told}
        late = Failed(status=503, message=f"not begun within {self._limits.time:g} s: try again")
        told += [(job, late) for job in silent]
        with self._changed:
            self._waiting = deque(job for job in self._waiting if job not in over)
        self._reading = deque(r for r in self._reading if r.job not in over)
        self._answers = [a for a in self._answers if a.job not in over]
        return [(job, event) for job, event in told if not job.cancelled]

    def _jobs(self) -> list[Job]:
        return [
            *tuple(self._waiting),
            *(r.job for r in self._reading),
            *(a.job for a in self._answers),
        ]

    def _admit(self) -> Told:
        """Give slots to those who wait, first come, first served."""
        told: list[tuple[Job, Event]] = []
        while self._waiting:
            job = self._waiting[0]
            # A job with more choices than there are slots gets them when it is alone, or it would
            # wait for ever.
            if self.taken + len(job.choices) > self._limits.slots and self.taken:
                break
            reading = Prefill(job, self._store)
            self._reading.append(reading)
            told.append((job, reading.begun))
            with self._changed:
                self._waiting.popleft()
        return told

    def _guarded_step(self) -> Told:
        """A step; what goes wrong in it ends its jobs, but not the thread."""
        try:
            started = time.perf_counter()
            told = self._step()
            self.steps += 1
            self.seconds += time.perf_counter() - started
            return told
        # Whatever it is: a thread that died would leave all requests waiting, and the next step may
        # be sound.
        except Exception:
            logger.exception("a step of the engine failed")
            failed = Failed(status=500, message="the engine failed; the server's log says why")
            jobs = [*(r.job for r in self._reading), *(a.job for a in self._answers)]
            self._reading.clear()
            self._answers.clear()
            return [(job, failed) for job in dict.fromkeys(jobs)]

    def _step(self) -> Told:
        answers, slices = self._answers, self._slices()
        states: list[SequenceState] = [a.state for a in answers] + [r.state for r, _ in slices]
        texts = [[a.unread] for a in answers] + [r.next(count) for r, count in slices]
        # Spikes are counted for a step as soon as one wants them: the engine counts for all or
        # none.
        counted = any(a.job.counted for a in answers) or any(r.job.counted for r, _ in slices)
        places = len(self._engine.spiking) if counted else 0
        spikes = np.zeros((len(states), places), np.uint32) if counted else None
        logits = self._engine.advance(states, texts, spikes=spikes)
        told = self._draw(logits, spikes)
        for row, (reading, count) in enumerate(slices, start=len(answers)):
            reading.advance(count)
            if reading.over:
                begun = reading.answers(self._engine)
                # The logits after a prompt are those of every answer's first token.
                for answer in begun:
                    shares = None if spikes is None else spikes[row] / np.float32(count)
                    told += answer.take(logits[row], shares)
                answers = [*answers, *begun]
        for answer in answers:
            if answer.over and not answer.failed:
                self._store.keep(answer.read, answer.state)
        self._answers = [answer for answer in answers if not answer.over]
        self._reading = deque(reading for reading in self._reading if not reading.over)
        return told

    def _draw(self, logits: F32, spikes: NDArray[np.uint32] | None) -> list[tuple[Job, Event]]:
        """The next token of every answer; each has a generator and a writer of its own."""

        def take(rows: range) -> list[tuple[Job, Event]]:
            found: list[tuple[Job, Event]] = []
            for row in rows:
                shares = None if spikes is None else spikes[row]
                found += self._answers[row].take(logits[row], shares)
            return found

        count, threads = len(self._answers), self._threads
        # Half of the time of a draw is spent without Python's lock, where another can be drawn.
        share = -(-count // threads) if count >= TOGETHER * threads else max(1, count)
        parts = [range(first, min(first + share, count)) for first in range(0, count, share)]
        drawn = map(take, parts) if len(parts) < 2 else self._drawers.map(take, parts)
        return [event for part in drawn for event in part]

    def _slices(self) -> list[tuple[Prefill, int]]:
        """Who reads how many tokens in this step; the one who read most goes to the end."""
        # Those who write go on in every step; those who read share what is left, so that a long
        # prompt slows answers instead of stopping them.
        room = max(self._limits.slice, len(self._answers)) if self._answers else ALONE
        found = list[tuple[Prefill, int]]()
        for reading in self._reading:
            if room <= 0:
                break
            found.append((reading, min(room, reading.until_mark)))
            room -= found[-1][1]
        self._reading.rotate(-len(found))
        return found
