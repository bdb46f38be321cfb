"""`asnn-goose teacher write`: texts drawn from a teacher, to train on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asnn_goose.cli.options import Quiet, ResumeFile, Teacher, count_of, json_file, seed_of

if TYPE_CHECKING:
    from asnn_goose.teachers.prompt_kinds import Kind
    from asnn_goose.teachers.teacher_texts import Writing

EXAMPLES = (
    "asnn-goose teacher write smollm2-135m --tokens 70k --out texts/own.jsonl",
    "asnn-goose teacher write smollm2-135m --tokens 70k --out texts/own.jsonl --resume",
    "asnn-goose teacher write smollm2-135m --tokens 1M --top-p 0.95 --seed 1 --text sotu"
    " --out texts/speeches.jsonl",
    "asnn-goose teacher write smollm2-135m --tokens 2M --kind opening,share=2 --kind title"
    " --kind question,temperature=0.7 --kind dialogue,top_p=0.95 --logits 512"
    " --out texts/mixed.jsonl --dry-run",
)


def write(
    model: Teacher,
    tokens: Annotated[int, count_of("Tokens to reach, prompts included (70k = 70000).")],
    out: Annotated[Path, json_file("File to write, a .jsonl.")],
    window: Annotated[int, count_of("Tokens of the longest text.")] = 256,
    batch: Annotated[int, count_of("Texts drawn at a time.")] = 32,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[,KEY=VALUE]",
            help="What texts begin with: passage, opening, title, question or dialogue; with share,"
            " temperature and top_p of its own; may be repeated.  [default: passage]",
        ),
    ] = None,
    temperature: Annotated[
        float, typer.Option(help="Of kinds that set none; 1 draws as the teacher does.")
    ] = 1.0,
    top_p: Annotated[
        float, typer.Option(help="Draw from the fewest tokens that hold this much probability.")
    ] = 1.0,
    most_repeated: Annotated[
        float,
        typer.Option(help="Drop texts of which more than this share of four-token runs repeats."),
    ] = 0.3,
    seed: Annotated[int, seed_of("Of prompts and drawing.")] = 0,
    prompt_tokens: Annotated[int, count_of("Tokens of a passage or opening before a text.")] = 8,
    text: Annotated[
        list[str] | None,
        typer.Option(
            help="Training text that gives the prompts: a corpus, or a .txt, .jsonl or .parquet"
            " file; may be repeated.  [default: the built-in training texts]"
        ),
    ] = None,
    logits: Annotated[
        int | None,
        count_of("Fill the teacher's cache meanwhile, for a stage with this window.", "WINDOW"),
    ] = None,
    top: Annotated[int, count_of("Words that the cache keeps of every token.")] = 64,
    resume: ResumeFile = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Draw one batch of every kind, estimate, write nothing."),
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Draw texts from a teacher, for a student to learn from by cross-entropy.

    That is sequence-level distillation (Kim and Rush 2016, 1606.07947): name the file in a
    recipe's data.train, and give a stage the loss ce. A recipe trains on nine tenths of a file,
    so write more than it is to read. The file appears once all is written; Ctrl-C keeps what
    there is, and --resume goes on as if nothing had happened.

    Texts that go round in circles, or that share thirteen words in a row with the texts of
    evaluation, are dropped and counted. With --logits the teacher's words are kept for
    [teacher.cache] as the windows of the file fill up, so that kl on it needs no teacher.
    """
    from asnn_goose.cli.progress import fill
    from asnn_goose.data.corpora import DEFAULT_TRAIN
    from asnn_goose.teachers.teacher_texts import Writer, Writing

    kinds = tuple(
        _kind(words, temperature=temperature, top_p=top_p) for words in kind or ["passage"]
    )
    writing = Writing(
        model=model,
        tokens=tokens,
        window=window,
        batch=batch,
        kinds=kinds,
        seed=seed,
        prompt_tokens=prompt_tokens,
        most_repeated=most_repeated,
        texts=tuple(text or DEFAULT_TRAIN),
        logits=logits or 0,
        top=top,
    )
    if dry_run:
        _rehearse(writing)
        return
    next_step = 'in a recipe, data.train = ["{out}"] and the loss ce'
    fill(writing, Writer, out=out, resume=resume, quiet=quiet, unit="tokens", next_step=next_step)


def _rehearse(writing: Writing) -> None:
    from dataclasses import replace
    from functools import partial

    from rich.console import Console

    from asnn_goose.cli.progress import say
    from asnn_goose.subject.torch_model import hush
    from asnn_goose.teachers.teacher_texts import Writer

    hush()
    tell = partial(say, Console())
    # Without a cache: nothing of a rehearsal is kept.
    for line in Writer(replace(writing, logits=0), tell=tell).rehearse():
        tell(line)


def _kind(words: str, *, temperature: float, top_p: float) -> Kind:
    """A kind as typed, such as title,share=2. Raises ValueError for what is none."""
    from asnn_goose.names import hint
    from asnn_goose.teachers.prompt_kinds import Kind

    name, *settings = words.split(",")
    found = {"share": 1.0, "temperature": temperature, "top_p": top_p}
    for setting in settings:
        key, _, value = setting.partition("=")
        if key not in found:
            raise ValueError(f"--kind {words}: {key!r} is no setting; {hint(key, sorted(found))}")
        try:
            found[key] = float(value)
        except ValueError:
            raise ValueError(f"--kind {words}: {key} = {value!r} is no number") from None
    return Kind(name=name, **found)
