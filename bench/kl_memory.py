"""What the vocabulary costs in memory: a KL step against one with a trivial loss.

    python bench/kl_memory.py [--check]

T = 512, B = 4, a 49 152-word vocabulary, activation checkpointing on. Each side takes two
optimiser steps in a process of its own; its peak is what the system counted as resident.
`--check` fails above 0.5 GiB.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

import torch

from asnn_goose.losses import KL, Objective, Term
from asnn_goose.meter import peak_memory
from asnn_goose.model import convert, load_teacher
from asnn_goose.ops.allocator import keep_freed_memory
from asnn_goose.trace import Batch, Trace

BATCH, WINDOW, STEPS = 4, 512, 2
LIMIT_GIB = 0.5


def peak_gib(side: str) -> float:
    """Peak of this process after some steps with the KL or with the trivial loss."""
    keep_freed_memory()  # as training does
    teacher = load_teacher("smollm2-135m")
    student = convert(teacher).train()
    student.gradient_checkpointing_enable({"use_reentrant": False})
    optimiser = torch.optim.AdamW(student.parameters(), lr=1e-6, fused=True)
    objective = Objective([Term("kl", 1.0, KL())])
    tokens_BT = torch.randint(0, student.config.vocab_size, (BATCH, WINDOW + 1))
    batch = Batch(
        tokens_BT=tokens_BT[:, :-1],
        labels_BT=tokens_BT[:, 1:],
        documents_BT=torch.zeros_like(tokens_BT[:, 1:]),
    )
    for _ in range(STEPS):
        optimiser.zero_grad(set_to_none=True)
        theirs = teacher.trace(batch.tokens_BT, frozenset({"vocab"}))
        ours = student.trace(batch.tokens_BT, frozenset({"vocab"}))
        loss = objective(ours, theirs, batch)["kl"] if side == "kl" else trivial(ours)
        loss.backward()
        optimiser.step()
    return peak_memory(torch.device("cpu")) / 2**30


def trivial(ours: Trace) -> torch.Tensor:
    """A loss on the hidden states alone."""
    assert ours.final_BTD is not None
    return ours.final_BTD.square().mean()


def in_own_process(side: str) -> float:
    """Peak of one side, in GiB."""
    command = [sys.executable, __file__, "--side", side]
    printed = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    return float(printed.split()[-1])


def main() -> None:
    """Measure both sides and print the difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--side", choices=("kl", "trivial"))
    options = parser.parse_args()
    if options.side:
        print(peak_gib(options.side))
        return
    kl, bare = in_own_process("kl"), in_own_process("trivial")
    print(f"peak with KL {kl:.2f} GiB, with a trivial loss {bare:.2f} GiB")
    print(f"difference {kl - bare:.2f} GiB")
    if options.check and kl - bare > LIMIT_GIB:
        raise SystemExit(f"difference is above {LIMIT_GIB} GiB")


if __name__ == "__main__":
    main()
