"""Examples, pairs and what stages need to learn from them, shrunk to a few tokens each."""

from __future__ import annotations

from typing import Any

import numpy as np

from asnn_goose.data.examples import Example, Pair
from asnn_goose.losses import PAIR_LOSSES, VOCAB_LOSSES, Objective, Term
from asnn_goose.train.stages.gkd import Samples

WINDOW = 24
END = 96
SAMPLES = Samples(
    share=1.0, tokens=6, temperature=1.0, window=WINDOW, ends=frozenset({END}), padding=0
)
LOADER = {"window": WINDOW, "batch": 2, "seed": 5, "padding": 0}


def example(prompt: int, answer: int, *, seed: int) -> Example:
    ids_N = np.random.default_rng(seed).integers(1, END, prompt + answer)
    return Example(ids_N=ids_N, answer_N=np.arange(len(ids_N)) >= prompt, place=f"{seed}")


def examples() -> list[Example]:
    return [example(2 + n % 3, 2 + n % 4, seed=n) for n in range(14)]


def pairs(count: int = 9) -> list[Pair]:
    found = []
    for n in range(count):
        chosen, other = example(3, 2 + n % 3, seed=n), example(0, 4, seed=100 + n)
        ids_N = np.concatenate([chosen.ids_N[:3], other.ids_N])
        rejected = Example(ids_N=ids_N, answer_N=np.arange(7) >= 3, place="r")
        found.append(Pair(chosen=chosen, rejected=rejected))
    return found


def objective(*names: str, chunk: int = 8, **settings: Any) -> Objective:
    rows = {**VOCAB_LOSSES, **PAIR_LOSSES}
    return Objective([Term(n, 1.0, rows[n](**settings.get(n, {}))) for n in names], chunk=chunk)
