"""`asnn-goose distill`: carry out a recipe."""

from __future__ import annotations

import gc
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asnn_goose import disk, leftovers
from asnn_goose.cli.expected_errors import INTERRUPTED, USAGE, is_expected, message
from asnn_goose.cli.options import DryRun, MachinesName, Quiet, Resume, Settings
from asnn_goose.numbers import duration, size

if TYPE_CHECKING:
    from asnn_goose.recipe import Estimate, OnMachines, Recipe
    from asnn_goose.recipe.chain import Link

EXAMPLES = (
    "asnn-goose distill recipes/smollm2-demo.toml --dry-run",
    "asnn-goose distill recipes/smollm2-demo.toml --dry-run --machines 8x8xH100",
    "asnn-goose distill recipes/smollm2-demo.toml --out runs/demo",
    "asnn-goose distill recipes/smollm2-demo.toml --out runs/demo --resume",
    "asnn-goose distill recipes/smollm2-demo.toml --set stage.0.tokens=200k --set seed=1",
    "asnn-goose distill recipes/smollm2-dense.toml recipes/ladder/smollm2-p2s3.toml --resume",
)


class ChainError(ValueError):
    """An option that several recipes cannot share, or that says nothing without another."""


class ChainStopped(RuntimeError):  # noqa: N818 - says what happened
    """A link did not come to its end: why, and how the chain goes on."""

    def __init__(self, text: str, *, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code


def distill(
    recipes: Annotated[list[Path], typer.Argument(help="A recipe (TOML), or several in a row.")],
    out: Annotated[
        Path | None, typer.Option(help="Run folder.  [default: runs/ and the recipe's name]")
    ] = None,
    resume: Resume = False,
    dry_run: DryRun = False,
    machines: MachinesName = None,
    settings: Settings = None,
    quiet: Quiet = False,
) -> None:
    """Carry out a recipe: train a student. Or several, one after the other.

    Numbers may be written as 200k or 1.5M. Ctrl-C saves and stops; --resume goes on, bit for
    bit. The student ends up in the run folder under model/.

    Of several recipes each has its own folder, runs/ and its name; a later one may start from or
    learn from an earlier one's folder. --resume skips what is finished, continues what has begun
    and starts the rest.
    """
    # Before torch is imported: a wrong option is told at once.
    if machines is not None and not dry_run:
        raise ChainError(f"--machines {machines}: says what a run would cost; add --dry-run")
    if len(recipes) > 1:
        check_shared(recipes, out=out, settings=settings)
    from asnn_goose.subject.torch_model import hush

    hush()
    if len(recipes) > 1 and dry_run:
        dry_chain(recipes, machines=machines)
    elif len(recipes) > 1:
        carry_out_chain(recipes, resume=resume, quiet=quiet)
    else:
        from asnn_goose.recipe import load_recipe
        from asnn_goose.recipe.chain import run_folder

        recipe = load_recipe(recipes[0], settings or [])
        if dry_run:
            typer.echo(recipe.to_toml())
            echo_estimate(recipe, machines=machines)
        else:
            train(recipe, out or run_folder(recipe), resume=resume, quiet=quiet)


def check_shared(recipes: list[Path], *, out: Path | None, settings: list[str] | None) -> None:
    """Raise ChainError for an option that is one recipe's."""
    if out is not None:
        raise ChainError(
            f"--out {out}: is the folder of one run, and there are {len(recipes)} recipes; leave it"
            " out, and each goes to runs/ and its name"
        )
    if settings:
        raise ChainError(
            f"--set {settings[0]}: is a setting of one recipe, and there are {len(recipes)}; write"
            " it into the recipe that it is meant for"
        )


def echo_estimate(recipe: Recipe, *, machines: str | None = None) -> None:
    """Print what a run reads and what it will cost, here or on machines that are not."""
    from asnn_goose.recipe import estimate, on_machines, parse_machines

    if machines is not None:
        for line in machine_lines(on_machines(recipe, parse_machines(machines))):
            typer.echo(line)
        return
    found = estimate(recipe)
    for line in (*text_lines(recipe, found.tokens), *estimate_lines(found)):
        typer.echo(line)


def text_lines(recipe: Recipe, tokens: int) -> list[str]:
    """Share of every text in the tokens of a run, and built-in examples, as TOML comments."""
    from asnn_goose.data.corpora import find_corpus
    from asnn_goose.data.instructions import INSTRUCTIONS

    sets = {name for stage in recipe.stage for name in stage.examples if name in INSTRUCTIONS}
    lines = [f"# {name}: {INSTRUCTIONS[name].licence}" for name in sorted(sets)]
    for name, weight in zip(recipe.data.train, recipe.data.weights, strict=False):
        share, corpus = weight / sum(recipe.data.weights), find_corpus(name)
        licence = f", {corpus.licence}" if corpus else ""
        lines.append(f"# {name}: {share:.1%}, about {share * tokens:,.0f} tokens{licence}")
    return lines


def estimate_lines(found: Estimate) -> list[str]:
    """An estimate in words, as TOML comments, so that a dry run's output is a recipe."""
    stages = [
        f"# {stage.name}: {stage.steps:,} steps, {stage.tokens:,} tokens,"
        f" {stage.trained:,} parameters train, about {duration(stage.seconds)},"
        f" {size(stage.memory_bytes)}"
        for stage in found.stages
    ]
    caches = [
        f"# cache of {cache.teacher}: {cache.token_bytes:,} bytes a token, at most"
        f" {size(cache.most_bytes)} for this run's {cache.tokens:,} tokens,"
        f" {size(cache.there_bytes)} there now; reading it instead of running the teacher saves up"
        f" to {duration(cache.saved_s)}"
        for cache in found.caches
    ]
    return [
        f"# parameters: teacher {found.teacher:,}, student {found.student:,}",
        *(f"# {line}" for line in found.examples),
        *stages,
        *caches,
        f"# in all: {found.tokens:,} tokens, about {duration(found.seconds)} on this machine"
        f" ({found.matrix_flops / 1e9:,.0f} Gflop/s), peak memory about {size(found.memory_bytes)},"
        f" disk about {size(found.disk_bytes)}",
    ]


def machine_lines(found: OnMachines) -> list[str]:
    """An estimate on machines in words, as TOML comments, with what it assumes."""
    machines, device = found.machines, found.machines.device
    stages = [
        f"# {stage.name}: {stage.steps:,} steps, {stage.tokens:,} tokens, about"
        f" {size(stage.memory_bytes)} of {size(device.memory_bytes)} a device,"
        f" {stage.tokens_per_s:,.0f} tokens/s, {size(stage.sent_bytes)} sent by a device and step,"
        f" {stage.seconds / 3600:,.1f} h"
        for stage in found.stages
    ]
    lacking = "" if found.fits else "; it does not fit" + ("" if found.shard else ": shard it")
    return [
        f"# parameters: teacher {found.teacher:,}, student {found.student:,}",
        f"# assumed, never measured: {found.peak_share:.0%} of"
        f" {device.flops(found.precision) / 1e12:,.0f} Tflop/s in {found.precision}, exchanges at"
        f" {machines.exchange_bytes / 1e9:,.0f} GB/s beside the products,"
        f" {device.dollars:.2f} dollars for a device and hour",
        *stages,
        f"# in all, on {machines.nodes} x {machines.each} {machines.kind},"
        f" {'in parts' if found.shard else 'a whole student on each'}: {found.hours:,.1f} h, about"
        f" {found.dollars:,.0f} dollars{lacking}",
    ]


def train(recipe: Recipe, folder: Path, *, resume: bool, quiet: bool) -> None:
    """Carry out a checked recipe; with `resume`, a run that is complete is left as it is."""
    from rich.console import Console

    from asnn_goose.cli.evaluate import echo_training
    from asnn_goose.cli.progress import say, watcher
    from asnn_goose.recipe.run import is_complete, train_recipe
    from asnn_goose.report import write_report

    console = Console()
    if resume and is_complete(folder, recipe):
        leftovers.remove_leftovers(folder)  # nothing is written here any more
        say(console, f"{folder} is complete: {folder / 'model'} holds its student")
        if not (folder / "report.html").exists():  # it was ended between the two
            say(console, f"wrote {write_report(folder)}")
        return
    disk.check_folder(folder)
    with watcher(console, quiet=quiet) as view:
        reports = train_recipe(recipe, folder, resume=resume, progress=view)
    if reports:
        echo_training(folder / "metrics.jsonl")
        say(console, f"wrote {write_report(folder)}")
        say(console, f"next: asnn-goose eval {folder}")


def dry_chain(files: Sequence[Path], *, machines: str | None) -> None:
    """Print every link: its resolved recipe, and estimates where what it needs is there."""
    from asnn_goose.recipe.chain import load_chain, missing
    from asnn_goose.recipe.run import own_threads

    links = load_chain(files)
    for number, link in enumerate(links):
        typer.echo(f"# {heading(links, number)}")
        typer.echo(link.recipe.to_toml())
        if absent := missing(link, links[:number]):
            typer.echo(f"# no estimate before {' and '.join(map(str, absent))} is there")
        else:
            with own_threads():
                echo_estimate(link.recipe, machines=machines)
        typer.echo("")


def carry_out_chain(files: Sequence[Path], *, resume: bool, quiet: bool) -> None:
    """Train link after link; with `resume`, those that are complete are left as they are.

    Raises ChainStopped where one does not come to its end; the rest is then not begun.
    """
    from asnn_goose.recipe.chain import begun, load_chain

    links = load_chain(files)
    # All folders are looked at before the first link trains for hours.
    started = begun(links, resume=resume)
    for number, link in enumerate(links):
        typer.echo(heading(links, number))
        with told(links, number):
            train(link.recipe, link.folder, resume=started[number], quiet=quiet)
        gc.collect()  # models hold cycles: without this the last student stays beside the next


def heading(links: Sequence[Link], number: int) -> str:
    """Which link, and where it goes."""
    return f"link {number + 1} of {len(links)}: {links[number].file}, in {links[number].folder}"


@contextmanager
def told(links: Sequence[Link], number: int) -> Iterator[None]:
    """Add to an expected error how the chain goes on; a bug keeps its traceback."""
    try:
        yield
    except BrokenPipeError:
        raise
    except KeyboardInterrupt:
        raise stopped(links, number, "interrupted", INTERRUPTED) from None
    except Exception as error:
        if not is_expected(error):
            raise
        code = getattr(error, "exit_code", USAGE)
        raise stopped(links, number, message(error), code) from error


def stopped(links: Sequence[Link], number: int, why: str, exit_code: int) -> ChainStopped:
    """The error of a chain that stops at a link."""
    again = shlex.join(["asnn-goose", "distill", *(str(link.file) for link in links), "--resume"])
    place = f"the chain stopped at {heading(links, number)}"
    return ChainStopped(f"{why}\n{place}\ngo on with: {again}", exit_code=exit_code)
