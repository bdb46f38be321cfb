"""A batcher whose answers a test waits for, and the same drawing without one."""

from __future__ import annotations

import queue
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from asnn_goose.infer.engine import Engine
from asnn_goose.infer.sampler import Drawer, Sampling
from asnn_goose.infer.server.batcher import Batcher
from asnn_goose.infer.server.job import Ended, Event, Failed, Job, Piece
from asnn_goose.infer.server.settings import Limits
from asnn_goose.infer.server.state_store import StateStore

SAMPLING = Sampling(temperature=1.3, top_p=0.9, repetition_penalty=1.2)


class Bench:
    """A batcher, and what it has told."""

    def __init__(self, engine: Engine, **limits: Any) -> None:
        self.engine = engine
        self.store = StateStore(engine, memory=limits.pop("memory", 1 << 24))
        self.told = queue.Queue[Sequence[tuple[Job, Event]]]()
        self.steps: list[list[int]] = []
        self.batcher = Batcher(engine, self.store, Limits(**limits), self.told.put)
        self.events: dict[Job, list[Event]] = defaultdict(list)

    def until_over(self, *jobs: Job) -> None:
        def over(job: Job) -> bool:
            found = self.events[job]
            ended = sum(isinstance(event, Ended) for event in found)
            return ended == len(job.choices) or any(isinstance(e, Failed) for e in found)

        while not all(map(over, jobs)):
            self.hear()

    def hear(self) -> None:
        for job, event in self.told.get(timeout=30):
            self.events[job].append(event)

    def tokens(self, job: Job, choice: int = 0) -> list[int]:
        pieces = [event for event in self.events[job] if isinstance(event, Piece)]
        return [piece.drawn.token for piece in pieces if piece.choice == choice]


def solo(engine: Engine, prompt: Sequence[int], *, seed: int, limit: int = 12) -> list[int]:
    """The same drawing by hand: no server, no slices, no company."""
    drawer, state, unread, found = (
        Drawer(SAMPLING, seed=seed, native=True),
        engine.start(),
        prompt,
        [],
    )
    for _ in range(limit):
        drawer.see(unread)
        found.append(drawer.draw(engine.prefill(state, unread)))
        unread = found[-1:]
    return found
