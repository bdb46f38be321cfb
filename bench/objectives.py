"""What four losses over the vocabulary in one stage cost beside KL alone: speed and memory.

    python bench/objectives.py [--check] [--window 512] [--batch 4] [--rounds 5] [--threads 2]

KL + CE + CTKD + AdaKD against KL, in distill steps of SmolLM2-135M and its converted student,
teacher and optimiser included, on random tokens. For speed both take turns in one process. For
memory each takes two steps in a process of its own, with activation checkpointing; its peak is
what the system counted as resident. `--check` fails where the four make less than 90 % of KL's
tokens a second, or take 0.3 GiB more.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable

import torch
from torch import nn

from asnn_goose.losses import VOCAB_LOSSES, Objective, Term
from asnn_goose.meter import peak_memory
from asnn_goose.model import GooseForCausalLM, Teacher, convert, load_teacher
from asnn_goose.ops.allocator import keep_freed_memory
from asnn_goose.trace import Batch
from asnn_goose.train.stages import Distill

SIDES = {"kl": ("kl",), "four": ("kl", "ce", "ctkd", "adakd")}
STEPS = 2
FLOOR = 0.9
LIMIT_GIB = 0.3


def objective(side: str) -> Objective:
    """The losses of a side, with their defaults."""
    return Objective([Term(name, 1.0, VOCAB_LOSSES[name]()) for name in SIDES[side]])


def random_batch(vocabulary: int, *, batch: int, window: int) -> Batch:
    """Tokens of the middle of a stage, when every part of every loss is at work."""
    tokens_BT = torch.randint(0, vocabulary, (batch, window + 1))
    return Batch(
        tokens_BT=tokens_BT[:, :-1],
        labels_BT=tokens_BT[:, 1:],
        documents_BT=torch.zeros_like(tokens_BT[:, 1:]),
        progress=0.5,
    )


def optimiser_of(parts: Iterable[nn.Module]) -> torch.optim.Optimizer:
    """AdamW as training uses it, with a rate that leaves the weights nearly as they are."""
    parameters = [parameter for part in parts for parameter in part.parameters()]
    return torch.optim.AdamW(parameters, lr=1e-6, fused=True)


def step_of(
    student: GooseForCausalLM,
    teacher: Teacher,
    losses: Objective,
    optimiser: torch.optim.Optimizer,
    data: Batch,
) -> Callable[[], None]:
    """One optimiser step."""
    stage = Distill(student=student, teacher=teacher, objective=losses).train()

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        torch.stack(list(stage(data).values())).sum().backward()
        optimiser.step()

    return step


def seconds(work: Callable[[], None]) -> float:
    """Wall-clock time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def step_seconds(*, batch: int, window: int, rounds: int) -> dict[str, float]:
    """Median time of a step of each side, in turns on the same student."""
    keep_freed_memory()  # as training does
    teacher = load_teacher("smollm2-135m")
    student = convert(teacher)
    losses = {side: objective(side) for side in SIDES}
    optimiser = optimiser_of([student, *losses.values()])
    data = random_batch(student.config.vocab_size, batch=batch, window=window)
    steps = {s: step_of(student, teacher, losses[s], optimiser, data) for s in SIDES}
    for step in steps.values():
        step()
    times = [{side: seconds(step) for side, step in steps.items()} for _ in range(rounds)]
    return {side: statistics.median(turn[side] for turn in times) for side in SIDES}


def peak_gib(side: str, *, batch: int, window: int) -> float:
    """Peak of this process after some steps of a side."""
    keep_freed_memory()
    teacher = load_teacher("smollm2-135m")
    student = convert(teacher).train()
    student.gradient_checkpointing_enable({"use_reentrant": False})
    losses = objective(side)
    data = random_batch(student.config.vocab_size, batch=batch, window=window)
    step = step_of(student, teacher, losses, optimiser_of([student, losses]), data)
    for _ in range(STEPS):
        step()
    return peak_memory(torch.device("cpu")) / 2**30


def in_own_process(side: str, options: argparse.Namespace) -> float:
    """Peak of one side, in GiB."""
    settings = [f"--{key}={getattr(options, key)}" for key in ("batch", "window", "threads")]
    command = [sys.executable, __file__, "--side", side, *settings]
    printed = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    return float(printed.split()[-1])


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--window", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--side", choices=tuple(SIDES), help="print the peak of one side alone")
    return parser.parse_args()


def main() -> None:
    """Measure and print; exit status 1 where --check fails."""
    options = arguments()
    torch.set_num_threads(options.threads)
    size = {"batch": options.batch, "window": options.window}
    if options.side:
        print(peak_gib(options.side, **size))
        return
    peaks = {side: in_own_process(side, options) for side in SIDES}
    times = step_seconds(**size, rounds=options.rounds)
    ratio, extra = times["kl"] / times["four"], peaks["four"] - peaks["kl"]
    tokens = options.batch * options.window
    print(f"threads {options.threads}, {options.batch} x {options.window} tokens, fp32")
    for side, names in SIDES.items():
        print(
            f"{' + '.join(names):24} {tokens / times[side]:7.1f} tokens/s, {times[side]:.2f} s a "
            f"step, peak {peaks[side]:.2f} GiB"
        )
    print(f"speed {ratio:.3f} (medians of {options.rounds} rounds), memory {extra:+.2f} GiB")
    if options.check and (ratio < FLOOR or extra > LIMIT_GIB):
        raise SystemExit(f"wanted at least {FLOOR} of the speed and {LIMIT_GIB} GiB at most")


if __name__ == "__main__":
    main()
