"""Tokens per second of a packed student: decode, prefill, and the time to the first token."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from asnn_goose.infer.draw import draw_each
from asnn_goose.infer.sampler import Drawer, Sampling

if TYPE_CHECKING:
    from asnn_goose.infer.backend import BackendName
    from asnn_goose.infer.engine import Engine

SAMPLING = Sampling(temperature=0.8, top_p=0.95)
"""How tokens are drawn while speed is measured: as `generate` does unless told otherwise."""

WARM_UP = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A process of its own, from its start on, in seconds; and its highest resident memory."""

    loaded: float
    first_token: float
    peak_bytes: int


def random_tokens(count: int, *, vocabulary: int, seed: int = 0) -> NDArray[np.int32]:
    """Token ids (count,)."""
    return np.random.default_rng(seed).integers(0, vocabulary, count, dtype=np.int32)


def drawing(engine: Engine, *, concurrent: int = 1) -> Iterator[list[int]]:
    """Draw one token for each of some independent sequences, again and again."""
    states = [engine.start() for _ in range(concurrent)]
    native = engine.backend == "native"
    drawers = [Drawer(SAMPLING, seed=n, native=native) for n in range(concurrent)]
    first = random_tokens(concurrent, vocabulary=engine.vocab_size).tolist()

    def read(unread: list[list[int]]) -> NDArray[np.float32]:
        tokens = [token for (token,) in unread]
        return engine.step(states, tokens, **SAMPLING.rough)

    return draw_each(read, [[token] for token in first], drawers=drawers)


def decode_rate(engine: Engine, *, tokens: int, concurrent: int = 1) -> float:
    """Tokens per second of all sequences together, everything from token to token included."""
    steps = drawing(engine, concurrent=concurrent)
    for _ in range(min(WARM_UP, tokens)):
        next(steps)
    started = time.perf_counter()
    for _ in range(tokens):
        next(steps)
    return concurrent * tokens / (time.perf_counter() - started)


def prefill_rate(engine: Engine, *, tokens: int) -> float:
    """Prompt tokens per second."""
    ids, state = random_tokens(tokens, vocabulary=engine.vocab_size), engine.start()
    started = time.perf_counter()
    engine.prefill(state, ids)
    return tokens / (time.perf_counter() - started)


def median(measure: Callable[[], float], *, repeats: int) -> float:
    """Median over some calls."""
    return statistics.median(measure() for _ in range(repeats))


def cold_start(folder: Path, *, threads: int, backend: str, tokens: int) -> Start:
    """Run a packed folder in a process of its own: `tokens` tokens after a prompt of one.

    Counted from before the process is made: interpreter, imports, opening and checking the file.
    """
    command = [sys.executable, "-m", __name__, str(folder), str(threads), backend, str(tokens)]
    # The clock of the machine and not of the process: the child reads the same one.
    started = time.time()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"a process of its own failed:\n{done.stderr}")
    said = json.loads(done.stdout)
    return Start(
        loaded=said["loaded"] - started,
        first_token=said["first_token"] - started,
        peak_bytes=said["peak_bytes"],
    )


def _main(folder: str, threads: str, backend: str, tokens: str) -> None:
    from asnn_goose.infer.engine import Engine
    from asnn_goose.meter import peak_bytes

    chosen: BackendName = "reference" if backend == "reference" else "native"
    engine = Engine.load(folder, int(threads), backend=chosen)
    loaded = time.time()
    steps = drawing(engine)
    next(steps)
    first_token = time.time()
    for _ in range(int(tokens) - 1):
        next(steps)
    said = {"loaded": loaded, "first_token": first_token, "peak_bytes": peak_bytes()}
    print(json.dumps(said))


if __name__ == "__main__":
    _main(*sys.argv[1:])
