"""The part of `eval` that needs torch: load, score, compare, print."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from transformers import PreTrainedTokenizerBase

from asnn_goose.cli.copying_table import copying_table, probe_lines
from asnn_goose.cli.numbers import duration
from asnn_goose.cli.subject import Subject, SubjectError, load, load_tokenizer, run_recipe
from asnn_goose.cli.texts import IN_DOMAIN, OUT_OF_DOMAIN, Text, text_named, windows_of
from asnn_goose.eval.comparison import Measurement, Protocol, measure, ratio
from asnn_goose.eval.copying import PROBE_TOKENS, Probes, probes
from asnn_goose.eval.perplexity import Window
from asnn_goose.eval.text_bytes import text_bytes
from asnn_goose.ops.allocator import keep_freed_memory
from asnn_goose.recipe import Recipe, load_recipe
from asnn_goose.recipe.numbers import ALL

DEFAULT_TOKENS = 32_000
TEACHER, STUDENT, MODEL = "teacher", "student", "model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The options of `eval`; None and () mean what the run's recipe says, else the default."""

    model: str
    on: tuple[str, ...] = ()
    window: int | None = None
    tokens: int | None = None
    teacher: str | None = None
    json: Path | None = None


def score(request: Request) -> None:
    """Score, print the table and the ratios, write the JSON file."""
    keep_freed_memory()
    recipe_file = run_recipe(request.model)
    recipe = load_recipe(recipe_file) if recipe_file else None
    protocol, texts = protocol_of(request, recipe), texts_of(request, recipe)
    models = models_of(request, recipe)
    tokenizer = load_tokenizer(request.model)
    for name in models.values():
        check_vocabulary(request.model, tokenizer, name, load_tokenizer(name))
    windows = {text.name: windows_of(text, tokenizer, protocol=protocol) for text in texts}
    found, probed = list[Measurement](), dict[str, Probes]()
    for role, name in models.items():
        subject = load(name)
        found += measure_model(subject, role, windows, protocol, label=f"{role} {name}")
        if reads(subject, PROBE_TOKENS):
            probed[role] = probes(subject.trace, vocabulary=len(subject.tokenizer))
    if request.json:
        write_json(request.json, texts, protocol, models, found, probed)
    for line in (protocol.describe(), *(text.describe() for text in texts)):
        typer.echo(line)
    Console().print(table(found))
    Console().print(copying_table(found))
    for line in probe_lines(probed):
        typer.echo(line)
    if recipe_file and (trained := training_line(recipe_file.with_name("metrics.jsonl"))):
        typer.echo(trained)
    for line in ratio_lines(found):
        typer.echo(line)


def protocol_of(request: Request, recipe: Recipe | None) -> Protocol:
    """Options win over the recipe, the recipe over defaults."""
    window = request.window or (recipe.eval.window if recipe else Protocol().window)
    tokens = request.tokens or (recipe.eval.tokens if recipe else DEFAULT_TOKENS)
    return Protocol(
        window=window,
        limit=None if tokens == ALL else tokens,
        seed=recipe.seed if recipe else None,
    )


def texts_of(request: Request, recipe: Recipe | None) -> list[Text]:
    """The texts asked for, each once, in the order asked for."""
    names = dict.fromkeys(request.on or (IN_DOMAIN, OUT_OF_DOMAIN))
    if recipe is None:
        return [text_named(name) for name in names]
    data = recipe.data
    return [
        text_named(name, trained_on=data.train, out_of_domain=data.out_of_domain) for name in names
    ]


def models_of(request: Request, recipe: Recipe | None) -> dict[str, str]:
    """Role -> name of every model to score: the teacher first, if there is one."""
    teacher = request.teacher or (recipe.teacher[0].model if recipe else None)
    if teacher is None:
        return {MODEL: request.model}
    return {TEACHER: teacher, STUDENT: request.model}


def check_vocabulary(
    model: str, tokenizer: PreTrainedTokenizerBase, other: str, others: PreTrainedTokenizerBase
) -> None:
    """Raise SubjectError where two models would read one list of ids as different texts."""
    if tokenizer.get_vocab() != others.get_vocab():
        raise SubjectError(
            f"{model} and {other} have different vocabularies, so they cannot be scored on the same"
            " tokens: score each on its own and compare bits per byte"
        )


def reads(subject: Subject, tokens: int) -> bool:
    """Whether a model can read so many tokens at once: learned positions have an end."""
    positions = getattr(subject.model.config, "n_positions", 0)
    return not positions or positions >= tokens


def measure_model(
    subject: Subject,
    role: str,
    windows: Mapping[str, Sequence[Window]],
    protocol: Protocol,
    *,
    label: str,
) -> list[Measurement]:
    """Score one model on all texts; `label` stands beside the progress."""
    total = sum(labels.numel() for text in windows.values() for _, labels in text)
    with advancing(label, total) as advance:
        return measure(
            subject.trace,
            windows,
            model=role,
            protocol=protocol,
            bytes_V=text_bytes(subject.tokenizer, subject.model.config.vocab_size),
            progress=advance,
        )


@contextmanager
def advancing(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on standard error while tokens are scored; nothing where that is no terminal."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(label, total=total)
        yield lambda tokens: progress.advance(task, tokens)


def table(found: Sequence[Measurement]) -> Table:
    """One row per text and model, texts together."""
    made = Table(box=None, pad_edge=False)
    made.add_column("text")
    made.add_column("model")
    for heading in ("tokens", "perplexity", "bits/byte", "tokens/s", "peak MB"):
        made.add_column(heading, justify="right", no_wrap=True)
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
        f"{row.score.bits_per_byte:.3f}",
        f"{row.tokens_per_s:,.0f}",
        f"{row.peak_bytes / 1e6:,.0f}",
    )


def ratios(found: Sequence[Measurement]) -> dict[str, float]:
    """Text -> the student's perplexity over the teacher's; empty where there is no teacher."""
    teacher = {row.text: row for row in found if row.model == TEACHER}
    return {
        row.text: ratio(row, teacher[row.text])
        for row in found
        if row.model == STUDENT and row.text in teacher
    }


def ratio_lines(found: Sequence[Measurement]) -> list[str]:
    """`ratio 1.87` for the first text, `out-of-domain ratio 3.40` for the others before it."""
    lines = [f"{text} ratio {value:.2f}" for text, value in ratios(found).items()]
    first = [line[line.index("ratio ") :] for line in lines[:1]]
    return lines[1:] + first


def training_line(metrics: Path) -> str | None:
    """How much training made the student, from the last line of its metrics."""
    lines = metrics.read_text(encoding="utf-8").splitlines() if metrics.exists() else []
    if not lines:
        return None
    last = json.loads(lines[-1])
    return (
        f"trained on {last['tokens_seen']:,} tokens in {duration(last['seconds'])}:"
        f" {last['tokens_seen'] / last['seconds']:,.0f} tokens/s"
    )


def write_json(
    file: Path,
    texts: Sequence[Text],
    protocol: Protocol,
    models: Mapping[str, str],
    found: Sequence[Measurement],
    probed: Mapping[str, Probes],
) -> None:
    """Protocol, models, texts, every measurement with its raw sums, ratios and probes."""
    content = {
        "protocol": protocol.as_dict(),
        "models": dict(models),
        "texts": {text.name: [list(part) for part in text.parts] for text in texts},
        "measurements": [row.as_dict() for row in found],
        "ratios": ratios(found),
        "probes": {model: row.as_dict() for model, row in probed.items()},
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
