"""One student in several forms on the engine: what each costs in perplexity, and its speed.

    python bench/forms.py PACKED [PACKED,bf16] [OTHER ...] [--on sotu] [--tokens 10k] [--rounds 7]

A form is a packed folder; `,bf16` behind it keeps the matrices of states in bf16. Perplexity is
that of the test split of a corpus (or of a text file's end) in windows of 512, beside the first
form's on the same words. Tokens are drawn as `generate` does, the forms taking turns; times are
the thread's own, so that others may compute beside it, and ratios medians of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.engine_parity import WINDOW, by_engine, losses

from asnn_goose.data.shards import shard
from asnn_goose.eval import speed
from asnn_goose.infer.backend import Memory
from asnn_goose.infer.engine import Engine
from asnn_goose.model.weight_files import load_words
from asnn_goose.numbers import parse_count

BF16 = ",bf16"


def engine_of(form: str) -> Engine:
    """The engine that a form asks for, on one thread."""
    states: Memory = "bf16" if form.endswith(BF16) else "f32"
    return Engine.load(form.removesuffix(BF16), threads=1, states=states)


def nats(engine: Engine, windows: list[np.ndarray]) -> float:
    """Mean negative log-likelihood of the words of all windows."""
    return float(np.mean(np.concatenate([losses(by_engine(engine, ids), ids) for ids in windows])))


def token_seconds(engine: Engine, *, tokens: int) -> float:
    """The thread's own time from one drawn token to the next."""
    drawn = speed.drawing(engine)
    for _ in range(speed.WARM_UP):
        next(drawn)
    started = time.thread_time()
    for _ in range(tokens):
        next(drawn)
    return (time.thread_time() - started) / tokens


def text_windows(folder: str, text: str, *, tokens: int) -> list[np.ndarray]:
    """Windows of the test split of a text, in the words of this student."""
    words = shard(text, "test", load_words(folder, name=folder)).tokens_N
    count = min(tokens, len(words)) // WINDOW
    return [
        np.asarray(words[number * WINDOW : (number + 1) * WINDOW], np.int64)
        for number in range(count)
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("forms", nargs="+", metavar="PACKED[,bf16]")
    parser.add_argument("--on", default="sotu")
    parser.add_argument("--tokens", type=parse_count, default=10_000, help="of the text")
    parser.add_argument("--drawn", type=int, default=32, help="tokens drawn in a round")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    engines = {form: engine_of(form) for form in options.forms}
    times: dict[str, list[float]] = {form: [] for form in engines}
    for _ in range(options.rounds):
        for form, engine in engines.items():
            times[form].append(token_seconds(engine, tokens=options.drawn))
    first = options.forms[0]
    windows = text_windows(first.removesuffix(BF16), options.on, tokens=options.tokens)
    found = {form: nats(engine, windows) for form, engine in engines.items()}
    print(f"{'perplexity':>10}{'change':>10}{'MB':>8}{'ms':>8}{'ratio':>7}  form")
    for form, engine in engines.items():
        ratio = statistics.median(a / b for a, b in zip(times[form], times[first], strict=True))
        size = sum(array.nbytes for array in engine.model.tensors.values()) / 1e6
        change = math.exp(found[form] - found[first]) - 1
        numbers = f"{math.exp(found[form]):10.3f}{change:+10.3%}{size:8.1f}"
        print(f"{numbers}{1e3 * statistics.median(times[form]):8.2f}{ratio:7.3f}  {form}")


if __name__ == "__main__":
    main()
