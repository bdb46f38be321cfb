"""Training on two threads beside a busy process: what waiting threads that spin cost.

    python bench/busy_machine.py [--rounds 3] [--steps 6] [--threads 2]

Every run is a process of its own, since OpenMP reads its settings once. The sides, `spinning` as
the library has it and `brief` as `asnn_goose.threads.wait_briefly` sets it, take turns, each on the
machine as it is and beside one process that never sleeps; every round gives a ratio, and the
medians are printed. Wanted: brief costs nothing alone, and keeps 45 % beside the other.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from asnn_goose.threads import OWN, wait_briefly

BUSY = [sys.executable, "-c", "while True: pass"]
WIDTH, LAYERS, VOCABULARY = 576, 6, 8192


def main() -> None:
    """Time both sides in turns and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--train", action="store_true", help="one measurement, in this process")
    options = parser.parse_args()
    if options.train:
        print(tokens_per_s(steps=options.steps, threads=options.threads))
        return
    found: dict[str, list[float]] = {}
    for number in range(options.rounds):
        for place in ("alone", "beside"):
            for side, setting in sides().items():
                with busy() if place == "beside" else quiet():
                    speed = in_own_process(setting, options.steps, options.threads)
                found.setdefault(f"{side} {place}", []).append(speed)
        now = ", ".join(f"{name} {speeds[-1]:.0f}" for name, speeds in found.items())
        print(f"round {number + 1}, load {os.getloadavg()[0]:.1f}: {now} tokens/s", flush=True)
    report(found)


def sides() -> dict[str, dict[str, str]]:
    """What each side's environment adds to one without any setting of OpenMP's waiting."""
    brief: dict[str, str] = {}
    wait_briefly(brief)
    return {"spinning": {}, "brief": brief}


def report(found: Mapping[str, list[float]]) -> None:
    """Medians over the rounds of what is compared within each of them."""
    for side in ("spinning", "brief"):
        kept = ratio(found[f"{side} beside"], found["spinning alone"])
        print(f"{side}: beside a busy process {kept:.0%} of the speed alone")
    print(f"brief alone: {ratio(found['brief alone'], found['spinning alone']):.1%} of spinning")


def ratio(ones: list[float], others: list[float]) -> float:
    """Median of the ratios of one round each."""
    return statistics.median(a / b for a, b in zip(ones, others, strict=True))


@contextmanager
def busy() -> Iterator[None]:
    """Another process that never sleeps."""
    process = subprocess.Popen(BUSY)
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def quiet() -> Iterator[None]:
    """Nothing beside."""
    yield


def in_own_process(setting: Mapping[str, str], steps: int, threads: int) -> float:
    """Tokens a second of a training process with a setting of OpenMP."""
    kept = {k: v for k, v in os.environ.items() if k not in OWN}
    command = [sys.executable, str(Path(__file__)), "--train", "--steps", str(steps)]
    done = subprocess.run(
        [*command, "--threads", str(threads)],
        env=kept | dict(setting),
        capture_output=True,
        check=True,
    )
    return float(done.stdout)


def tokens_per_s(*, steps: int, threads: int) -> float:
    """Speed of distilling a random student of SmolLM2's width, two warm-up steps left out."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from asnn_goose.losses import KL, Objective, Term
    from asnn_goose.model import Teacher, convert
    from asnn_goose.trace import Batch
    from asnn_goose.train.stages import Distill

    torch.set_num_threads(threads)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=1536,
        num_hidden_layers=LAYERS,
        num_attention_heads=9,
        num_key_value_heads=3,
    )
    teacher = Teacher(LlamaForCausalLM(config), None, name="random")
    student = convert(teacher)
    stage = Distill(student=student, teacher=teacher, objective=Objective([Term("kl", 1.0, KL())]))
    optimiser = torch.optim.AdamW(student.parameters(), lr=1e-4, fused=True)
    ids_BT = torch.randint(VOCABULARY, (2, 128))
    batch = Batch(tokens_BT=ids_BT, labels_BT=ids_BT, documents_BT=torch.zeros_like(ids_BT))
    for number in range(-2, steps):
        if number == 0:
            start = time.perf_counter()
        optimiser.zero_grad()
        torch.stack(list(stage(batch).values())).sum().backward()
        optimiser.step()
    return steps * ids_BT.numel() / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
