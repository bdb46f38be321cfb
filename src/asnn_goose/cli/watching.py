"""How `distill` shows a run: live on a terminal, as plain lines in a log, or not at all."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from asnn_goose.cli.numbers import duration, size
from asnn_goose.train.progress import Progress as Watcher
from asnn_goose.train.progress import StepInfo

LINE_SECONDS = 20.0


@contextmanager
def watcher(console: Console, *, quiet: bool) -> Iterator[Watcher]:
    """The view that suits the console; `quiet` keeps messages only."""
    if quiet:
        yield Messages(console)
    elif console.is_terminal and not console.is_dumb_terminal:
        with Live(console) as live:
            yield live
    else:
        yield Lines(console)


class Messages:
    """Prints what the run has to say, and no progress."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def on_step(self, info: StepInfo) -> None:
        """Nothing."""

    def on_message(self, text: str) -> None:
        """One line."""
        say(self._console, text)


class Lines:
    """A line at the first and last step of a stage, and about every twenty seconds between."""

    def __init__(self, console: Console, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._clock = console, clock
        self._stage, self._printed_at = -1, clock()

    def on_step(self, info: StepInfo) -> None:
        """Print where a line is due."""
        edge = info.stage_index != self._stage or info.step == info.steps
        if edge or self._clock() - self._printed_at >= LINE_SECONDS:
            self._stage, self._printed_at = info.stage_index, self._clock()
            say(self._console, f"{place(info)} {info.step}/{info.steps}  {details(info)}")

    def on_message(self, text: str) -> None:
        """One line."""
        say(self._console, text)


class Live:
    """A bar over the whole run with the numbers of the last step, redrawn in place."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:>3.0f}%  {task.fields[details]}"),
            console=console,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Live:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def on_step(self, info: StepInfo) -> None:
        """Redraw."""
        if self._task is None:
            self._task = self._progress.add_task("", total=info.tokens_total, details="")
        self._progress.update(
            self._task,
            completed=info.tokens_seen,
            description=place(info),
            details=details(info),
        )

    def on_message(self, text: str) -> None:
        """One line above the bar."""
        say(self._progress.console, text)


def say(console: Console, text: str) -> None:
    """Print words as they are: no markup, no colours, no line breaks of our own."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def place(info: StepInfo) -> str:
    """Which stage, of how many."""
    return f"{info.stage} ({info.stage_index + 1} of {info.stages})"


def details(info: StepInfo) -> str:
    """Loss and its terms, rate, speed, memory, and the time left."""
    terms = ", ".join(f"{name} {value:.4f}" for name, value in info.terms.items())
    loss = f"loss {info.loss:.4f}" + (f" ({terms})" if len(info.terms) > 1 else "")
    return (
        f"{loss}  lr {info.lr:.1e}  {info.tokens_per_s:,.0f} tokens/s"
        f"  {size(info.memory_bytes)}  {duration(info.eta_s)} left"
    )
