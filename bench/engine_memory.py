"""Memory of the engine over a long generation: resident size after 100 tokens and after many more.

    python bench/engine_memory.py [--check] [--tokens 100000] [MODEL]

MODEL is a packed folder; without one, a random student of SmolLM2-135M's shapes with one plane and
one step is used. `--check` fails where the process grew by more than 1 %.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from asnn_goose.eval.random_student import SHAPES, Random, random_model
from asnn_goose.infer.engine import Engine
from asnn_goose.infer.sampler import Sampling
from asnn_goose.meter import resident_mib

FIRST = 100
GROWTH = 0.01


def engine_on(model: str | None) -> Engine:
    """An engine on one thread."""
    packed = random_model(SHAPES["135m"], Random()) if model is None else model
    return Engine.load(packed, threads=1)


def main() -> None:
    """Generate, print the sizes, and fail where --check finds growth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--tokens", type=int, default=100_000)
    options = parser.parse_args()
    engine = engine_on(options.model)
    state, start, sizes = engine.start(), time.perf_counter(), dict[int, float]()
    sampling = Sampling(temperature=0.8, top_p=0.95)
    drawn = engine.generate(state, np.array([1]), sampling=sampling, limit=options.tokens, seed=0)
    for count, _ in enumerate(drawn, start=1):
        if count % FIRST == 0:
            sizes[count] = resident_mib()
    rate = options.tokens / (time.perf_counter() - start)
    first, last = sizes[FIRST], sizes[max(sizes)]
    print(f"{first:.1f} MiB after {FIRST} tokens, {last:.1f} MiB after {max(sizes)}")
    print(f"growth {last / first - 1:+.3%}, {rate:.1f} tokens/s")
    if options.check and last > first * (1 + GROWTH):
        raise SystemExit(f"the process grew by more than {GROWTH:.0%}")


if __name__ == "__main__":
    main()
