"""Work in processes of their own, a few at a time."""

from __future__ import annotations

import os
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

PAUSE_S = 0.1
"""Time between two looks at the processes."""

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TQDM_DISABLE": "1",
}
"""What is read when a library is first imported, so that it has to be there before the process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process to run; what it prints goes to `log`, and its input ends when ours does."""

    name: str
    command: tuple[str, ...]
    log: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Exited:
    """A job that ended: its exit code, and the seconds it took."""

    job: Process
    code: int
    seconds: float


class _Running:
    """One job under way."""

    def __init__(self, job: Process) -> None:
        self.job = job
        self._started = time.monotonic()
        with job.log.open("ab") as log:
            self.process = subprocess.Popen(
                job.command,
                # Never written to: it ends when this process does, however that is ended.
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | ONE_THREAD,
                # Ctrl-C on the terminal is for us: a run that gets it twice saves nothing.
                start_new_session=True,
            )

    def poll(self) -> Exited | None:
        """How the job ended, or None while it goes on."""
        code = self.process.poll()
        if code is None:
            return None
        self.wait()
        return Exited(job=self.job, code=code, seconds=time.monotonic() - self._started)

    def stop(self) -> None:
        """Ask it to save and end."""
        self.process.terminate()

    def wait(self) -> None:
        """Until it has ended."""
        # Only now: a job takes the end of its input for the end of this process.
        self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()


def carry_out(
    jobs: Iterable[Process],
    *,
    workers: int,
    on_end: Callable[[Exited], None],
    stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Run all jobs, `workers` at a time, each on one thread; a job that fails stops no other.

    Once `stopped` is true no job starts, those under way are asked to end (SIGTERM) and waited
    for; how they end is then told to nobody. Raises ValueError below one worker.
    """
    if workers < 1:
        raise ValueError(f"workers = {workers}: must be at least 1")
    waiting, running = deque(jobs), list[_Running]()
    try:
        while (waiting or running) and not stopped():
            while waiting and len(running) < workers:
                running.append(_Running(waiting.popleft()))
            _collect(running, on_end)
            time.sleep(PAUSE_S if running else 0)
    finally:
        for one in running:
            one.stop()
        for one in running:
            one.wait()


def _collect(running: list[_Running], on_end: Callable[[Exited], None]) -> None:
    """Take out what has ended, and tell."""
    for one in list(running):
        ended = one.poll()
        if ended is not None:
            running.remove(one)
            on_end(ended)
