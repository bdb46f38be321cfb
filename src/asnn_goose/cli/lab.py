"""`asnn-goose teacher lab`: train the small teacher that ablations use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asnn_goose.cli.errors import expected_errors
from asnn_goose.cli.examples import examples
from asnn_goose.cli.numbers import count

EXAMPLES = examples(
    "asnn-goose teacher lab --out runs/lab-teacher",
    "asnn-goose teacher lab --out runs/lab-teacher --resume",
)


@expected_errors()
def lab(
    out: Annotated[Path, typer.Option(help="Run folder.")] = Path("runs/lab-teacher"),
    tokens: Annotated[
        int, typer.Option(parser=count, metavar="N", help="Training tokens.")
    ] = 4_000_000,
    seed: Annotated[int, typer.Option(min=0, help="Of weights and data order.")] = 0,
    lr: Annotated[float, typer.Option(help="Peak learning rate.")] = 2e-3,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in the run folder.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Messages only, no progress.")] = False,
) -> None:
    """Train the lab teacher from scratch: tokenizer, then a Llama of 3 M parameters.

    It reads the training splits of the built-in corpora. The teacher ends up in the run folder
    under model/, in fp16. Ctrl-C saves and stops; --resume goes on, bit for bit.
    """
    from dataclasses import replace

    from rich.console import Console

    from asnn_goose.cli.subject import hush
    from asnn_goose.cli.watching import say, watcher
    from asnn_goose.report import write_report
    from asnn_goose.teachers.lab import LAB, lab_plan
    from asnn_goose.train.loop import run

    hush()
    console = Console()
    training = replace(LAB, tokens=tokens, seed=seed, lr=lr)
    with watcher(console, quiet=quiet) as view:
        plan = lab_plan(training, tell=view.on_message)
        model = run(plan, out=out, resume=resume, progress=view)
    if plan.accelerator.is_main_process:
        say(console, f"wrote {write_report(out)}")
        say(console, f"next: asnn-goose eval {model} --on validation --on austen")
