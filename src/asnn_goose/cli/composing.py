"""The part of `teacher write` that needs torch: draw texts, and show how far they are."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from asnn_goose.cli.numbers import duration
from asnn_goose.cli.subject import hush
from asnn_goose.cli.watching import LINE_SECONDS, say
from asnn_goose.teachers.teacher_texts import Writer, Writing, write_texts
from asnn_goose.teachers.text_file import TextFile


def compose(writing: Writing, *, out: Path, resume: bool, quiet: bool) -> None:
    """Write the texts; with `resume`, a file that is complete is left as it is."""
    hush()
    console = Console()
    file = TextFile(out, asdict(writing))
    if file.check(resume=resume):
        say(console, f"{out} is complete")
        return
    writer = Writer(writing, tell=lambda text: say(console, text))
    try:
        with showing(console, writing.tokens, quiet=quiet) as advance:
            tokens = write_texts(writer, file, advance=advance)
    except KeyboardInterrupt:
        say(console, "what is written is kept: go on with --resume")
        raise
    say(console, f"wrote {out}: {tokens:,} tokens, made as {file.record} says")
    say(console, f'next: in a recipe, data.train = ["{out}"] and the loss ce')


@contextmanager
def showing(console: Console, total: int, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """What is told the tokens that are done: a bar on a terminal, lines in a log, or nothing."""
    if quiet:
        yield lambda tokens: None
    elif console.is_terminal and not console.is_dumb_terminal:
        with _bar(console) as progress:
            task, pace = progress.add_task("writing", total=total, details=""), Pace(total)
            yield lambda tokens: progress.update(
                task, completed=tokens, details=pace.details(tokens)
            )
    else:
        yield Lines(console, Pace(total)).advance


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TextColumn("{task.percentage:>3.0f}%  {task.fields[details]}"),
        console=console,
    )


class Pace:
    """Tokens a second since the first call, and the time that the rest will take."""

    def __init__(self, total: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.total, self.clock = total, clock
        self._first: tuple[float, int] | None = None

    def details(self, tokens: int) -> str:
        """Tokens, rate and time left; rate and time once there is something to tell them from."""
        done = f"{tokens:,} of {self.total:,} tokens"
        if self._first is None:
            self._first = (self.clock(), tokens)
        began, before = self._first
        seconds, drawn = self.clock() - began, tokens - before
        if not (drawn and seconds > 0):
            return done
        left = max(0, self.total - tokens) * seconds / drawn
        return f"{done}  {drawn / seconds:,.0f} tokens/s  {duration(left)} left"


class Lines:
    """A line at first, at the end, and about every twenty seconds between."""

    def __init__(self, console: Console, pace: Pace) -> None:
        self._console, self._pace = console, pace
        self._printed_at: float | None = None

    def advance(self, tokens: int) -> None:
        """Print where a line is due."""
        details, now = self._pace.details(tokens), self._pace.clock()
        last = self._printed_at
        if last is None or now - last >= LINE_SECONDS or tokens >= self._pace.total:
            self._printed_at = now
            say(self._console, f"writing  {details}")
