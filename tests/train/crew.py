"""Several processes that train together: started in a blink, for all are forked from one.

That one has imported everything and has done nothing yet, so that no thread of torch's is lost.
"""

from __future__ import annotations

import multiprocessing as mp
import os
import socket
import sys
import threading
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

IMPORTED = [
    "asnn_goose.recipe",
    "asnn_goose.study.smoke",
    "asnn_goose.train.loop",
    "torch.distributed.checkpoint",
    "torch.distributed.fsdp",
    "transformers.models.llama.modeling_llama",
]
CONTEXT = mp.get_context("forkserver")
CONTEXT.set_forkserver_preload(IMPORTED)

Job = Callable[..., int]
"""What a member does: (tell, *arguments) -> its exit code. A function of an importable module."""


class Crew:
    """`size` processes at a job; each tells lines of what it does."""

    def __init__(self, job: Job, *arguments: Any, size: int = 2, **named: Any) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        pipes = [CONTEXT.Pipe(duplex=False) for _ in range(size)]
        self._ends = [reader for reader, _ in pipes]
        self.members = [
            CONTEXT.Process(
                target=_member,
                args=(_environment(rank, size, port), writer, partial(job, **named), arguments),
            )
            for rank, (_, writer) in enumerate(pipes)
        ]
        for member, (_, writer) in zip(self.members, pipes, strict=True):
            member.start()
            writer.close()  # so that an end is seen when the member's own is closed
        self.told: list[list[str]] = [[] for _ in range(size)]

    def wait_for(self, line: str, *, of: int = 0) -> None:
        """Until a member tells a line; EOFError where it ends before."""
        while True:
            self.told[of].append(self._ends[of].recv())
            if self.told[of][-1] == line:
                return

    def codes(self, *, seconds: float = 120) -> list[int | None]:
        """Exit codes, minus the signal of the killed; who is not through by then is killed."""
        readers = [threading.Thread(target=self._read, args=(n,)) for n in range(len(self._ends))]
        for reader in readers:
            reader.start()
        for member in self.members:
            member.join(seconds)
            member.kill()
        for part in (*readers, *self.members):
            part.join()
        return [member.exitcode for member in self.members]

    def _read(self, number: int) -> None:
        try:
            while True:
                self.told[number].append(self._ends[number].recv())
        except EOFError:
            return


def _environment(rank: int, size: int, port: int) -> dict[str, str]:
    """What a launcher sets, beside what holds here and now."""
    return {
        **os.environ,
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "ACCELERATE_USE_CPU": "1",
    }


def _member(
    environment: dict[str, str], end: Connection, job: Job, arguments: tuple[Any, ...]
) -> None:
    os.environ.update(environment)
    import torch

    torch.set_num_threads(1)
    sys.exit(job(end.send, *arguments))
