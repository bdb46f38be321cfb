"""Millions of tokens through the engine over 64 states that are forked and dropped at random.

    python -m tests.campaign.soak_engine [--tokens 10M] [--seed 0]

Prints how far it is, and what the process holds: its memory may grow by 2 MB an hour, and its
descriptors must stay as many.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

import numpy as np
from bench.sound_packed import TINY, sound
from tests.campaign.slope import Watch

from asnn_goose.format.packed import write_packed
from asnn_goose.infer.engine import Engine
from asnn_goose.numbers import count

STATES, AT_ONCE, LONGEST = 64, 16, 64
READINGS = 200


def tiny(folder: Path) -> Engine:
    """An engine on a small student of every form of matrix."""
    write_packed(folder, TINY, *sound(TINY, 0))
    return Engine.load(folder, threads=1)


def soak(engine: Engine, *, tokens: int, seed: int, tell: bool = False) -> Watch:
    """Read so many tokens; `tell` prints on the way."""
    chance, watch = random.Random(seed), Watch()
    states, done, due = [engine.start() for _ in range(STATES)], 0, 0
    while done < tokens:
        for place in chance.sample(range(STATES), 4):
            states[place] = engine.start()
        for to, source in zip(*[iter(chance.sample(range(STATES), 8))] * 2, strict=True):
            states[to] = engine.fork(states[source])
        states[0].load_bytes(states[1].to_bytes())
        chosen = chance.sample(range(STATES), AT_ONCE)
        texts = [
            np.full(chance.randint(1, LONGEST), chance.randrange(engine.vocab_size)) for _ in chosen
        ]
        logits = engine.advance([states[place] for place in chosen], texts)
        assert np.isfinite(logits).all()
        done += sum(map(len, texts))
        if done >= due:
            watch.look()
            due += tokens // READINGS
            if tell and len(watch.seconds) % 20 == 0:
                print(f"{done:,} tokens: {watch.megabytes[-1]:.1f} MB", flush=True)
    return watch


def main() -> int:
    """Exit code 1 where something grows."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tokens", type=count, default=10_000_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as own:
        watch = soak(tiny(Path(own)), tokens=options.tokens, seed=options.seed, tell=True)
    print(f"{options.tokens:,} tokens in {watch.line()}")
    return bool(watch.wrong())


if __name__ == "__main__":
    sys.exit(main())
