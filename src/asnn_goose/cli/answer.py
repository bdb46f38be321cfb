"""`asnn-goose teacher answer`: a teacher's answers, as instructions or as preferences."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asnn_goose.cli.options import Quiet, ResumeFile, Teacher, count_of, json_file, seed_of
from asnn_goose.numbers import count

EXAMPLES = (
    "asnn-goose teacher answer smollm2-135m --examples ask_wiki --count 500 --out texts/own.jsonl",
    "asnn-goose teacher answer smollm2-135m --examples ask_wiki --examples my.jsonl --count 1500"
    " --against runs/smollm2-sft --out texts/preferences.jsonl",
)


def answer(
    model: Teacher,
    sets: Annotated[
        list[str],
        typer.Option(
            "--examples",
            help="Whose questions: a built-in set, a .jsonl or .parquet file, or hf:...; may be"
            " repeated.",
        ),
    ],
    questions: Annotated[
        int, typer.Option("--count", parser=count, metavar="N", help="Questions to answer.")
    ],
    out: Annotated[Path, json_file("File to write, a .jsonl.")],
    against: Annotated[
        str | None,
        typer.Option(
            metavar="RUN", help="A student, whose answers are the rejected ones of pairs."
        ),
    ] = None,
    tokens: Annotated[int, count_of("Tokens of the longest answer.")] = 128,
    batch: Annotated[int, count_of("Questions answered at a time.")] = 8,
    temperature: Annotated[
        float, typer.Option(help="Of the teacher; the student draws at 1.")
    ] = 0.3,
    seed: Annotated[int, seed_of("Of the questions and of drawing.")] = 0,
    resume: ResumeFile = False,
    quiet: Quiet = False,
) -> None:
    """Let a teacher answer questions, for a stage sft, or beside a student, for a stage dpo.

    Records are {prompt, completion}, or with --against {prompt, chosen, rejected}: chosen is what
    the teacher said, rejected what the student did, and nobody has judged them. Of a built-in set
    the questions are those of its training split. The file appears once all is written; Ctrl-C
    keeps what there is, and --resume goes on as if nothing had happened.
    """
    from asnn_goose.cli.progress import fill
    from asnn_goose.teachers.teacher_answers import Answerer, Answering

    answering = Answering(
        model=model,
        examples=tuple(sets),
        count=questions,
        against=against,
        tokens=tokens,
        batch=batch,
        temperature=temperature,
        seed=seed,
    )
    stage = "sft" if against is None else "dpo"
    next_step = f'in a stage {stage}, examples = ["{{out}}"]'
    fill(
        answering,
        Answerer,
        out=out,
        resume=resume,
        quiet=quiet,
        unit="records",
        next_step=next_step,
    )
