"""`asnn-goose eval`: perplexity and bits per byte of a student beside its teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asnn_goose import disk
from asnn_goose.cli.options import count_of, json_file
from asnn_goose.cli.tables import plain_table, show, shown
from asnn_goose.numbers import ALL, count, duration
from asnn_goose.places import run_recipe

if TYPE_CHECKING:
    from rich.table import Table

    from asnn_goose.eval.comparison import Measurement
    from asnn_goose.eval.window_errors import Difference
    from asnn_goose.study.request import Request

EXAMPLES = (
    "asnn-goose eval runs/demo",
    "asnn-goose eval runs/demo --on validation --on my.txt --tokens 100k --json scores.json",
    "asnn-goose eval smollm2-135m --on austen --tokens all",
    "asnn-goose eval runs/demo --on wikitext.txt --detokenise --beside runs/control",
    "asnn-goose eval runs/demo --on long.txt --stream --window 32k --tokens all",
    "asnn-goose eval runs/demo --tasks default --task-data tasks/ --json runs/demo/tasks.json",
)


def limited(text: str) -> int:
    """A number of tokens or items, "all" as in recipes. Raises ValueError."""
    return ALL if text == "all" else count(text)


def evaluate(
    model: Annotated[
        str, typer.Argument(help="A run folder, a student's folder, or a teacher's name.")
    ],
    on: Annotated[
        list[str] | None,
        typer.Option(
            help="in-domain, validation, out-of-domain, a corpus, or a .txt or .jsonl file; may be"
            " repeated.  [default: in-domain and out-of-domain]"
        ),
    ] = None,
    window: Annotated[
        int | None, count_of("Tokens of context.  [default: the run's, or 512]")
    ] = None,
    tokens: Annotated[
        int | None,
        typer.Option(
            parser=limited,
            metavar="N|all",
            help="Tokens scored per text at most.  [default: the run's, or 32k]",
        ),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            help="Score this model too, on the same windows.  [default: the run's teacher]"
        ),
    ] = None,
    beside: Annotated[
        list[str] | None,
        typer.Option(help="Score this model too, such as a control; may be repeated."),
    ] = None,
    detokenise: Annotated[
        bool,
        typer.Option("--detokenise", help="Files of WikiText also as people write, not as cut."),
    ] = False,
    stream: Annotated[
        bool,
        typer.Option(
            "--stream",
            help="Carry the state through the whole text, or through --window tokens of it.",
        ),
    ] = False,
    tasks: Annotated[
        list[str] | None,
        typer.Option(
            help="Ask these tasks instead: default, generation, instructions, or lm-eval's names;"
            " may be repeated."
        ),
    ] = None,
    task_data: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Files of the tasks' items.  [default: fetch them from the Hub]"
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            parser=limited, metavar="N|all", help="Items of a task at most.  [default: 100]"
        ),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(help="What runs a student on tasks: native or torch.  [default: native]"),
    ] = None,
    json: Annotated[Path | None, json_file("Write scores and protocol there.")] = None,
) -> None:
    """Perplexity and bits per byte, or scores on tasks, student beside teacher.

    "in-domain" is the test split of the training texts, "validation" their validation split,
    "out-of-domain" text of another kind. A file is scored whole, unless the run trained on it:
    then its test split. Every token is scored once, with at most --window tokens before it.
    With --stream a student's state goes through the whole text; a transformer begins anew when it
    is full. ± is a standard error, over windows. docs/measurement.md says how all of it is done.
    """
    from asnn_goose.cli.stream_run import read_streams
    from asnn_goose.cli.task_run import ask_tasks

    scoring = {"--window": window, "--tokens": tokens, "--beside": beside}
    scoring |= {"--detokenise": detokenise or None, "--stream": stream or None}
    refuse(bool(tasks), scoring, "no use with --tasks")
    refuse(not tasks, {"--task-data": task_data, "--limit": limit}, "for --tasks only")
    refuse(not (tasks or stream), {"--engine": engine}, "for --tasks and --stream only")
    if json:
        # Now: after an hour of scoring it would be a pity.
        disk.check_file(json, kind="JSON", is_one=disk.JSON)
    texts = tuple(on or ())
    if tasks:
        ask_tasks(model, tasks, task_data, limit, teacher, engine, on=texts, json=json)
        return
    from asnn_goose.study.request import Request

    request = Request(
        model=model,
        on=texts,
        window=window,
        tokens=tokens,
        teacher=teacher,
        beside=tuple(beside or ()),
        detokenise=detokenise,
    )
    if stream:
        read_streams(request, engine, json=json)
    else:
        score(request, json=json)


def refuse(wrong: bool, given: Mapping[str, object], why: str) -> None:
    """Raise ValueError for an option that was given where it would do nothing."""
    for option, value in given.items():
        if wrong and value is not None:
            raise ValueError(f"{option} {value}: {why}; leave it out")


def score(request: Request, *, json: Path | None) -> None:
    """Perplexities."""
    from asnn_goose.cli.copying_table import copying_table, probe_lines
    from asnn_goose.cli.progress import advancing
    from asnn_goose.study.evaluate import evaluate as evaluated

    found = evaluated(request, watch=advancing)
    for line in (found.protocol.describe(), *(text.describe() for text in found.texts)):
        typer.echo(line)
    show(table(found.measurements), "", copying_table(found.measurements))
    for line in probe_lines(found.probes):
        typer.echo(line)
    if recipe := run_recipe(request.model):
        echo_training(recipe.with_name("metrics.jsonl"))
    for line in difference_lines(found.differences()):
        typer.echo(line)
    for line in ratio_lines(found.ratios()):
        typer.echo(line)
    if json:
        found.write(json)
    # Last: a model without a number is an error, but what was measured is shown and written.
    found.check()


def table(found: Sequence[Measurement]) -> Table:
    """One row per text and model, texts together."""
    numbers = ("tokens", "perplexity", "±", "a word", "bits/byte", "tokens/s", "peak MB")
    made = plain_table("text", "model", *numbers, words=2)
    for text in dict.fromkeys(row.text for row in found):
        for row in found:
            if row.text == text:
                made.add_row(text, row.model, *cells(row))
    return made


def cells(row: Measurement) -> tuple[str, ...]:
    """Numbers of one row."""
    return (
        f"{row.score.tokens:,}",
        f"{row.score.perplexity:,.2f}",
        shown(row.score.perplexity * row.error, ",.2f"),
        shown(row.score.word_perplexity, ",.1f"),
        shown(row.score.bits_per_byte, ".3f"),
        f"{row.tokens_per_s:,.0f}",
        f"{row.peak_bytes / 1e6:,.0f}",
    )


def difference_lines(found: Mapping[tuple[str, str, str], Difference]) -> list[str]:
    """What a model loses more than another on the same windows, a line for each pair and text."""
    return [
        f"{text}: {one} {of.mean:+.4f} nats ± {shown(of.error, '.4f')} against {other}"
        for (text, one, other), of in found.items()
    ]


def ratio_lines(ratios: dict[str, float]) -> list[str]:
    """`ratio 1.87` for the first text, `out-of-domain ratio 3.40` for the others before it."""
    lines = [f"{text} ratio {value:.2f}" for text, value in ratios.items()]
    first = [line[line.index("ratio ") :] for line in lines[:1]]
    return lines[1:] + first


def echo_training(metrics: Path) -> None:
    """Print how much training made the student, where its run kept that."""
    from asnn_goose.study.scores import training_totals

    tokens, seconds = training_totals(metrics)
    if tokens:
        speed = f"{tokens / seconds:,.0f} tokens/s"
        typer.echo(f"trained on {tokens:,} tokens in {duration(seconds)}: {speed}")
