"""How work is shown: live on a terminal, as plain lines in a log, or not at all."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from asnn_goose import disk
from asnn_goose.numbers import duration, size

if TYPE_CHECKING:
    from asnn_goose.teachers.author import Author
    from asnn_goose.teachers.teacher_answers import Answering
    from asnn_goose.teachers.teacher_texts import Writing
    from asnn_goose.train.plan import RunPlan
    from asnn_goose.train.progress import Progress as Watcher
    from asnn_goose.train.progress import StepInfo

LINE_SECONDS = 20.0


@contextmanager
def watcher(console: Console, *, quiet: bool) -> Iterator[Watcher]:
    """The view that suits the console; `quiet` keeps messages only."""
    if quiet:
        yield MessagesOnly(console)
    elif console.is_terminal and not console.is_dumb_terminal:
        with LiveSteps(console) as live:
            yield live
    else:
        # A redrawn bar in a log file is a line for every step.
        yield StepLines(console)


class MessagesOnly:
    """Prints what the run has to say, and no progress."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def on_step(self, info: StepInfo) -> None:
        """Nothing."""

    def on_message(self, text: str) -> None:
        """One line."""
        say(self._console, text)


class StepLines:
    """A line at the first and last step of a stage, and about every twenty seconds between."""

    def __init__(self, console: Console, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._clock = console, clock
        self._stage, self._printed_at = -1, clock()

    def on_step(self, info: StepInfo) -> None:
        """Print where a line is due."""
        # A line at every edge: a log must show where a stage began and how it ended.
        edge = info.stage_index != self._stage or info.step == info.steps
        if edge or self._clock() - self._printed_at >= LINE_SECONDS:
            self._stage, self._printed_at = info.stage_index, self._clock()
            say(self._console, f"{place(info)} {info.step}/{info.steps}  {details(info)}")

    def on_message(self, text: str) -> None:
        """One line."""
        say(self._console, text)


class LiveSteps:
    """A bar over the whole run with the numbers of the last step, redrawn in place."""

    def __init__(self, console: Console) -> None:
        self._progress = _bar(console)
        self._task: TaskID | None = None

    def __enter__(self) -> LiveSteps:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def on_step(self, info: StepInfo) -> None:
        """Redraw."""
        if self._task is None:
            self._task = self._progress.add_task("", total=info.tokens_total, details="")
        self._progress.update(
            self._task, completed=info.tokens_seen, description=place(info), details=details(info)
        )

    def on_message(self, text: str) -> None:
        """One line above the bar."""
        say(self._progress.console, text)


def train(
    plan_of: Callable[..., RunPlan], *, out: Path, resume: bool, quiet: bool, next_step: str
) -> None:
    """Carry out the run that `plan_of(tell=...)` plans, and say how it ended.

    next_step  command to go on with, where {model} stands for what was trained
    """
    from asnn_goose.report import write_report
    from asnn_goose.subject.torch_model import hush
    from asnn_goose.train.loop import run

    disk.check_folder(out)
    hush()
    console = Console()
    with watcher(console, quiet=quiet) as view:
        plan = plan_of(tell=view.on_message)
        model = run(plan, out=out, resume=resume, progress=view)
    if plan.accelerator.is_main_process:
        say(console, f"wrote {write_report(out)}")
        say(console, f"next: {next_step.format(model=model)}")


def fill(
    settings: Answering | Writing,
    author_of: Callable[..., Author],
    *,
    out: Path,
    resume: bool,
    quiet: bool,
    unit: str,
    next_step: str,
) -> None:
    """Let the author that `author_of(settings, tell=...)` makes fill a file, and say how it ended.

    unit       of what is written
    next_step  where to use the file, which stands for {out}
    """
    from asnn_goose.subject.torch_model import hush
    from asnn_goose.teachers import author
    from asnn_goose.teachers.text_file import TextFile

    disk.check_file(out)
    hush()
    console, file = Console(), TextFile(out, asdict(settings))
    tell = partial(say, console)
    if file.check(resume=resume):
        tell(f"{out} is complete")
        return
    made = author_of(settings, tell=tell)
    try:
        with drawing(console, made.total, quiet=quiet) as advance:
            written = author.fill(made, file, advance=advance)
    except KeyboardInterrupt:
        tell("what is written is kept: go on with --resume")
        raise
    tell(f"wrote {out}: {written:,} {unit}, made as {file.record} says")
    for said in made.said_of(out):
        tell(said)
    tell(f"next: {next_step.format(out=out)}")


def say(console: Console, text: str) -> None:
    """Print words as they are: no markup, no colours, no line breaks of our own."""
    # As they are, because names of files and losses may look like markup.
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


@contextmanager
def drawing(
    console: Console, total: int, *, quiet: bool, doing: str = "writing"
) -> Iterator[Callable[[int], None]]:
    """Who is told the tokens that are done: a bar on a terminal, lines in a log, or nothing."""
    if quiet:
        yield lambda tokens: None
    elif console.is_terminal and not console.is_dumb_terminal:
        with _bar(console) as progress:
            task, pace = progress.add_task(doing, total=total, details=""), TimeLeft(total)
            yield lambda tokens: progress.update(
                task, completed=tokens, details=pace.details(tokens)
            )
    else:
        yield TokenLines(console, TimeLeft(total), doing=doing).advance


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TextColumn("{task.percentage:>3.0f}%  {task.fields[details]}"),
        console=console,
    )


class TimeLeft:
    """Tokens a second since the first call, and the time that the rest will take."""

    def __init__(self, total: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.total, self.clock = total, clock
        self._first: tuple[float, int] | None = None

    def details(self, tokens: int) -> str:
        """Tokens, rate and time left; rate and time once there is something to tell them from."""
        done = f"{tokens:,} of {self.total:,} tokens"
        # The first call only sets the clock: what a resumed file held already was not drawn now.
        if self._first is None:
            self._first = (self.clock(), tokens)
        began, before = self._first
        seconds, drawn = self.clock() - began, tokens - before
        if not (drawn and seconds > 0):
            return done
        left = max(0, self.total - tokens) * seconds / drawn
        return f"{done}  {drawn / seconds:,.0f} tokens/s  {duration(left)} left"


class TokenLines:
    """A line at first, at the end, and about every twenty seconds between."""

    def __init__(self, console: Console, pace: TimeLeft, *, doing: str = "writing") -> None:
        self._console, self._pace, self._doing = console, pace, doing
        self._printed_at: float | None = None

    def advance(self, tokens: int) -> None:
        """Print where a line is due."""
        details, now = self._pace.details(tokens), self._pace.clock()
        last = self._printed_at
        if last is None or now - last >= LINE_SECONDS or tokens >= self._pace.total:
            self._printed_at = now
            say(self._console, f"{self._doing}  {details}")


@contextmanager
def advancing(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on standard error while tokens are scored; nothing where that is no terminal."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(label, total=total)
        yield lambda tokens: progress.advance(task, tokens)
