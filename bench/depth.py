"""Decoding deep in a text, beside llama.cpp: its cache grows with the text, our state does not.

    python bench/depth.py PACKED [--llama-cpp FOLDER] [--depth 0 --depth 8k ...] [--rounds 3]

PACKED is a packed student (`asnn-goose export --to packed`). FOLDER holds llama-bench
(bench/peers/build_llama_cpp.sh builds it; default $ASNN_GOOSE_LLAMA_CPP); it runs the Q4_1 teacher,
whose own context ends at 8 192 tokens: behind that its speed means something and its words do not.
Tokens are drawn on our side and not on llama.cpp's. A prompt of random words is read once for each
depth and not timed; the sides take turns, and ratios are medians of each round's ratio. Pin the
process to a core (taskset -c 0) where others compute.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.peers.llama_cpp import HOW
from bench.peers.peer import NotRunError, watched

from asnn_goose.eval import speed
from asnn_goose.infer.backend import SequenceState
from asnn_goose.infer.draw import draw
from asnn_goose.infer.engine import Engine
from asnn_goose.infer.sampler import Drawer
from asnn_goose.numbers import parse_count
from asnn_goose.sources import teacher_folder

DEPTHS = (0, 2048, 8192, 16384, 32768)
TEACHER = "smollm2-135m"

Rates = dict[int, list[float]]


class Ours:
    """One packed student that has read as much as was asked for."""

    def __init__(self, folder: Path, depths: Sequence[int]) -> None:
        self.engine = Engine.load(folder, threads=1)
        words = speed.random_tokens(1 + max(depths), vocabulary=self.engine.vocab_size)
        state = self.engine.start()
        self.states: dict[int, SequenceState] = {}
        for depth in sorted(depths):
            if depth > state.position:
                self.engine.prefill(state, words[state.position : depth], missed=1.0)
            self.states[depth] = self.engine.fork(state)

    def rate(self, depth: int, *, tokens: int) -> float:
        """Tokens per second from there on, drawing included."""
        state, sampling = self.engine.fork(self.states[depth]), speed.SAMPLING
        drawn = draw(
            lambda ids: self.engine.prefill(state, ids, **sampling.rough),
            [1],
            drawer=Drawer(sampling, seed=0, native=True),
            limit=tokens + speed.WARM_UP,
        )
        for _ in range(speed.WARM_UP):
            next(drawn)
        started = time.perf_counter()
        for _ in range(tokens):
            next(drawn)
        return tokens / (time.perf_counter() - started)


def llama_rate(folder: Path, gguf: Path, depth: int, *, tokens: int) -> float:
    """Tokens per second of llama-bench with a cache that is as full. Raises NotRunError."""
    program = folder / "llama-bench"
    if not program.exists():
        raise NotRunError(f"no llama-bench in {folder}: {HOW}")
    command = [program, "-m", gguf, "-o", "json", "-t", 1, "-p", 0, "-r", 1]
    command += ["-n", tokens, "-d", depth]
    said, _ = watched([str(word) for word in command])
    (row,) = json.loads(said[said.index("[") :])
    return float(row["avg_ts"])


def in_turns(options: argparse.Namespace) -> tuple[Rates, Rates]:
    """Rates of both sides at every depth; none of llama.cpp's where it cannot run."""
    ours = Ours(options.packed, options.depth)
    gguf = next(Path(teacher_folder(TEACHER)).glob("*.gguf")) if options.llama_cpp else None
    found: Rates = {depth: [] for depth in options.depth}
    theirs: Rates = {depth: [] for depth in options.depth}
    for _ in range(options.rounds):
        for depth in options.depth:
            found[depth].append(ours.rate(depth, tokens=options.tokens))
            if gguf is not None:
                rate = llama_rate(options.llama_cpp, gguf, depth, tokens=options.tokens)
                theirs[depth].append(rate)
    return found, theirs


def line(depth: int, ours: list[float], theirs: list[float]) -> str:
    """One row of the table."""
    text = f"{depth:>8,}{statistics.median(ours):12.1f}"
    if not theirs:
        return text + f"{'-':>12}{'-':>8}"
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    return text + f"{statistics.median(theirs):12.1f}{ratio:8.2f}"


def main() -> int:
    """Print the table; 1 where llama.cpp was asked for and did not run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = os.environ.get("ASNN_GOOSE_LLAMA_CPP")
    parser.add_argument("packed", type=Path, nargs="?")
    parser.add_argument("--llama-cpp", type=Path, metavar="FOLDER", default=default)
    parser.add_argument("--depth", type=parse_count, action="append", metavar="N")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=64)
    options = parser.parse_args()
    if options.packed is None:
        print("not run: give a packed student")
        return 0
    options.depth = options.depth or list(DEPTHS)
    try:
        ours, theirs = in_turns(options)
    except NotRunError as reason:
        print(f"not run: {reason}", file=sys.stderr)
        return 1
    print(f"{'depth':>8}{'ours':>12}{'llama.cpp':>12}{'ratio':>8}   (tokens/s, one thread)")
    for depth in options.depth:
        print(line(depth, ours[depth], theirs[depth]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
