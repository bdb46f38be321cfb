"""The part of `distill` that carries out several recipes, one after the other."""

from __future__ import annotations

import gc
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
import typer
from rich.console import Console

from asnn_goose.cli.carrying_out import echo_estimate, train
from asnn_goose.cli.errors import INTERRUPTED, USAGE, is_expected, message
from asnn_goose.cli.subject import hush
from asnn_goose.cli.watching import say
from asnn_goose.recipe.chain import Link, begun, load_chain, missing


class ChainStopped(RuntimeError):  # noqa: N818 - says what happened
    """A link did not come to its end: why, and how the chain goes on."""

    def __init__(self, text: str, *, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code


def dry(files: Sequence[Path]) -> None:
    """Print every link: its resolved recipe, and estimates where what it needs is there."""
    hush()
    links = load_chain(files)
    for number, link in enumerate(links):
        typer.echo(f"# {heading(links, number)}")
        typer.echo(link.recipe.to_toml())
        if absent := missing(link, links[:number]):
            typer.echo(f"# no estimate before {' and '.join(map(str, absent))} is there")
        else:
            with own_threads():
                echo_estimate(link.recipe)
        typer.echo("")


def carry_out(files: Sequence[Path], *, resume: bool, quiet: bool) -> None:
    """Train link after link; with `resume`, those that are complete are left as they are.

    Raises ChainStopped where one does not come to its end; the rest is then not begun.
    """
    hush()
    links = load_chain(files)
    started = begun(links, resume=resume)
    for number, link in enumerate(links):
        say(Console(), heading(links, number))
        with told(links, number), own_threads():
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


@contextmanager
def own_threads() -> Iterator[None]:
    """Give torch its threads back: a recipe that sets none must not get those of the one before."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
