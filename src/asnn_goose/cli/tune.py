"""`asnn-goose teacher tune`: a teacher trained on the text that a student read."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from asnn_goose.cli.options import Quiet, Resume, count_of, seed_of, threads_of

EXAMPLES = (
    "asnn-goose teacher tune smollm2-135m --out runs/tuned",
    "asnn-goose teacher tune smollm2-135m --seed 1 --text sotu --text my.txt --out runs/tuned-1",
    "asnn-goose teacher tune smollm2-135m --examples ask_wiki --tokens 100k --out runs/answers",
    "asnn-goose teacher tune smollm2-135m --out runs/tuned --resume",
)


class NumberFormat(StrEnum):
    """Number format of the forward pass."""

    fp32 = "fp32"
    bf16 = "bf16"


def tune(
    model: Annotated[
        str, typer.Argument(help="The teacher to begin with: built-in name, folder or Hub id.")
    ],
    tokens: Annotated[int, count_of("Training tokens (60k = 60000).")] = 60_000,
    lr: Annotated[
        float, typer.Option(help="Peak learning rate; 5 % warm-up, then a cosine to a tenth.")
    ] = 5e-5,
    window: Annotated[int, count_of("Tokens of a window.")] = 512,
    batch: Annotated[int, count_of("Windows of a step: a stage's batch times accumulate.")] = 1,
    seed: Annotated[
        int, seed_of("Of the data order: the windows of a recipe's stage with this seed.")
    ] = 0,
    text: Annotated[
        list[str] | None,
        typer.Option(
            help="A corpus, broad, or a .txt, .jsonl or .parquet file; may be repeated."
            "  [default: the built-in training texts]"
        ),
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--examples",
            help="Examples to learn the answers of, as a stage sft does, instead of texts: a"
            " built-in set, a .jsonl or .parquet file, or hf:...; may be repeated.",
        ),
    ] = None,
    precision: Annotated[
        NumberFormat, typer.Option(help="bf16: autocast around the forward pass.")
    ] = NumberFormat.fp32,
    threads: Annotated[
        int | None, threads_of("Threads of the CPU.  [default: PyTorch's choice]")
    ] = None,
    out: Annotated[Path, typer.Option(help="Run folder.")] = Path("runs/tuned-teacher"),
    resume: Resume = False,
    quiet: Quiet = False,
) -> None:
    """Train all weights of a teacher by cross-entropy on text.

    The control of a student that learned from text too (loss ce): with the stage's seed, texts,
    window and batch the teacher reads the same windows in the same order, unless the recipe has
    data.weights of its own. With --examples it learns what a stage sft learns from them, and
    metrics.jsonl holds the loss on held-out answers, before and on the way. The tuned teacher ends
    up in the run folder under model/, in fp32.
    Ctrl-C saves and stops; --resume goes on, bit for bit.
    """
    from asnn_goose.cli.progress import train
    from asnn_goose.data.corpora import DEFAULT_TRAIN, mixture
    from asnn_goose.teachers.text_recipe import TextTraining
    from asnn_goose.teachers.tuned_teacher import Tuning, tuning_plan

    texts, weights = mixture(text or DEFAULT_TRAIN)
    training = TextTraining(
        tokens=tokens,
        seed=seed,
        window=window,
        batch=batch,
        lr=lr,
        texts=texts,
        weights=weights,
        examples=tuple(sets or ()),
    )
    tuning = Tuning(model=model, training=training, precision=precision.value, threads=threads)
    plan_of = partial(tuning_plan, tuning)
    next_step = "asnn-goose eval {model}" + f" --teacher {model}"
    train(plan_of, out=out, resume=resume, quiet=quiet, next_step=next_step)
