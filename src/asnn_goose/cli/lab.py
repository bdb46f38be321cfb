"""`asnn-goose teacher lab`: train the small teacher that ablations use."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from asnn_goose.cli.options import Quiet, Resume, count_of, seed_of

EXAMPLES = (
    "asnn-goose teacher lab --out runs/lab-teacher",
    "asnn-goose teacher lab --out runs/lab-teacher --resume",
)


def lab(
    out: Annotated[Path, typer.Option(help="Run folder.")] = Path("runs/lab-teacher"),
    tokens: Annotated[int, count_of("Training tokens.")] = 4_000_000,
    seed: Annotated[int, seed_of("Of weights and data order.")] = 0,
    lr: Annotated[float, typer.Option(help="Peak learning rate.")] = 2e-3,
    resume: Resume = False,
    quiet: Quiet = False,
) -> None:
    """Train the lab teacher from scratch: tokenizer, then a Llama of 3 M parameters.

    It reads the training splits of the built-in corpora. The teacher ends up in the run folder
    under model/, in fp16. Ctrl-C saves and stops; --resume goes on, bit for bit.
    """
    from asnn_goose.cli.progress import train
    from asnn_goose.teachers.lab import LAB, lab_plan

    training = replace(LAB, tokens=tokens, seed=seed, lr=lr)
    next_step = "asnn-goose eval {model} --on validation --on austen"
    train(partial(lab_plan, training), out=out, resume=resume, quiet=quiet, next_step=next_step)
