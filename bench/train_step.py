"""Speed of the KL stage, teacher included, against bare matrix products of the same shapes.

    python bench/train_step.py [--check] [--threads 2] [--batch 4] [--window 256]

Both sides run in turns in one process. The products are those that a step cannot do without:
student forward and the two of its backward pass, teacher forward, both heads. What is left is
WKV, attention, norms, softmaxes and the optimiser. `--check` fails below 70 %.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from bench.objectives import optimiser_of, random_batch, seconds, step_of

from asnn_goose.losses import KL, Objective, Term
from asnn_goose.model import GooseForCausalLM, Teacher, convert, load_teacher
from asnn_goose.ops.allocator import keep_freed_memory

CHUNK = 256
FLOOR = 0.7

Product = tuple[Tensor, Tensor]


def products(student: GooseForCausalLM, teacher: Teacher, *, tokens: int) -> list[Product]:
    """Operands of every product with a weight; one scratch pair per shape, so none is warm."""
    shapes: list[tuple[int, int, int]] = []
    for weight in (p for block in student.blocks for p in block.parameters()):
        if weight.dim() == 2 and min(weight.shape) > 16:
            out, inner = weight.shape
            shapes += [(tokens, inner, out), (tokens, out, inner), (out, tokens, inner)]
    for weight in teacher.layers.parameters():
        if weight.dim() == 2:
            shapes.append((tokens, weight.shape[1], weight.shape[0]))
    vocabulary, width = student.lm_head.weight.shape
    head = [(CHUNK, width, vocabulary)] * 2
    head += [(CHUNK, vocabulary, width), (vocabulary, CHUNK, width)]
    shapes += head * (tokens // CHUNK)
    pool = {shape: (torch.randn(shape[:2]), torch.randn(shape[1:])) for shape in set(shapes)}
    return [pool[shape] for shape in shapes]


def multiply(pairs: list[Product]) -> None:
    """All products once."""
    for left, right in pairs:
        left @ right


def kl_step(
    student: GooseForCausalLM, teacher: Teacher, *, batch: int, window: int
) -> Callable[[], None]:
    """One optimiser step of the KL stage on random tokens."""
    objective = Objective([Term("kl", 1.0, KL())], chunk=CHUNK)
    data = random_batch(student.config.vocab_size, batch=batch, window=window)
    return step_of(student, teacher, objective, optimiser_of([student]), data)


def main() -> None:
    """Measure and print; exit status 1 where --check fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--window", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    teacher = load_teacher("smollm2-135m")
    student = convert(teacher)
    tokens = options.batch * options.window
    pairs = products(student, teacher, tokens=tokens)
    step = kl_step(student, teacher, batch=options.batch, window=options.window)
    step()
    multiply(pairs)
    times = [(seconds(step), seconds(lambda: multiply(pairs))) for _ in range(options.repeats)]
    whole, bare = (statistics.median(side) for side in zip(*times, strict=True))
    share = statistics.median(b / w for w, b in times)
    print(f"threads {options.threads}, {options.batch} x {options.window} tokens, fp32")
    print(f"KL step, teacher included: {whole:.2f} s, {tokens / whole:.0f} tokens/s")
    print(f"matrix products alone:     {bare:.2f} s, {tokens / bare:.0f} tokens/s")
    print(f"share {share:.3f} (median of {options.repeats} pairs)")
    if options.check and share < FLOOR:
        raise SystemExit(f"share {share:.3f} is below {FLOOR}")


if __name__ == "__main__":
    main()
