"""Carry out a grid: every cell with every seed, each scored on the same windows."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from asnn_goose import disk
from asnn_goose.study.cell import Task, failure_of
from asnn_goose.study.comparison import as_json, comparable, compare, markdown
from asnn_goose.study.grid import Grid, Run
from asnn_goose.study.plot import draw
from asnn_goose.study.processes import Exited, Process, carry_out
from asnn_goose.study.scores import Scores, ScoresError, read_scores
from asnn_goose.train.folder import locked
from asnn_goose.train.signals import StopSignals

UNCHECKED = ".eval.json.part"
"""Scores as a cell writes them; they get their name once they were read and fit the grid."""

CELL = (sys.executable, "-m", "asnn_goose.study.cell")
"""What carries out a task: this very installation, whatever is first on the PATH."""


class StudyError(RuntimeError):
    """A study's folder is taken, or holds something else than the grid says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advance:
    """A run ended. failure: why it did not give scores, or None; eta_s: to the last run's end."""

    run: Run
    done: int
    total: int
    seconds: float
    eta_s: float
    failure: str | None


class StudyInterrupted(StudyError):  # noqa: N818 - not an error
    """SIGINT or SIGTERM came: runs under way were saved, finished ones are kept."""

    def __init__(self, *, signal: int, out: Path) -> None:
        super().__init__(f"stopped; what is done is kept in {out}: resume it")
        self.exit_code = 128 + signal


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """Where a study keeps what belongs to each of its runs."""

    path: Path

    def recipe(self, run: Run) -> Path:
        """The run's recipe, before it begins."""
        return self.path / "recipes" / f"{run.name}.toml"

    def run(self, run: Run) -> Path:
        """The run folder."""
        return self.path / "runs" / run.name

    def log(self, run: Run) -> Path:
        """What its process printed."""
        return self.path / "logs" / f"{run.name}.log"

    def outcome(self, run: Run) -> Path:
        """How its process ended."""
        return self.path / "logs" / f"{run.name}.outcome.json"

    def scores(self, run: Run) -> Path:
        """Its scores; there when it is finished."""
        return self.run(run) / "eval.json"

    def prepare(self, runs: Sequence[Run], *, resume: bool) -> None:
        """Make folders and write recipes.

        Raises StudyError where the folder is taken, or holds a run of another recipe.
        """
        if not resume and (self.path / "recipes").exists():
            raise StudyError(f"{self.path} holds a study: resume it, or choose another folder")
        for name in ("recipes", "runs", "logs"):
            (self.path / name).mkdir(parents=True, exist_ok=True)
        for run in runs:
            self._write_recipe(run)

    def _write_recipe(self, run: Run) -> None:
        file, text = self.recipe(run), run.recipe.to_toml()
        if self.run(run).exists() and file.exists() and file.read_text("utf-8") != text:
            raise StudyError(
                f"cell {run.cell!r} was begun with another recipe ({file}): delete"
                f" {self.run(run)} to run it anew, or choose another folder"
            )
        disk.write_text(file, text)


@dataclass(kw_only=True)
class Study:
    """A grid being carried out in a folder.

    cell     how to start a process that carries out a task
    workers  runs at a time, each on one thread
    tell     gets a sentence now and then
    on_run   gets an Advance when a run ended
    failures name of a run that gave no scores -> why
    """

    grid: Grid
    out: Path
    cell: Sequence[str] = field(default_factory=lambda: CELL)
    workers: int = 2
    tell: Callable[[str], None]
    on_run: Callable[[Advance], None]
    failures: dict[str, str] = field(default_factory=dict)
    _seconds: list[float] = field(default_factory=list)

    @property
    def folder(self) -> Folder:
        """Where everything is."""
        return Folder(path=self.out)

    def carry_out(self, runs: Sequence[Run], *, resume: bool) -> None:
        """Train and score the runs that are not finished.

        A run that fails stops no other: its failure goes to `on_run`, its log is kept, and with
        `resume` it is tried again. Raises StudyError where the folder is taken, StudyInterrupted
        where a signal came.
        """
        with ExitStack() as stack:
            stack.enter_context(locked(self.out, tell=self.tell))
            self.folder.prepare(runs, resume=resume)
            # Scores decide, not folders: a run that was cut off has a folder too.
            left = [run for run in runs if not self._is_finished(run)]
            if len(left) < len(runs):
                self.tell(f"{len(runs) - len(left)} of {len(runs)} runs are finished and kept")
            signals = stack.enter_context(StopSignals(self.tell))
            by_name = {run.name: run for run in left}
            done = len(runs) - len(left)

            def on_end(ended: Exited) -> None:
                nonlocal done
                done += 1
                self.on_run(self._advance(by_name[ended.job.name], ended, done, len(runs)))

            carry_out(
                [self._job(run) for run in left],
                workers=self.workers,
                on_end=on_end,
                stopped=lambda: signals.received is not None,
            )
        if signals.received is not None:
            raise StudyInterrupted(signal=signals.received, out=self.out)

    def _is_finished(self, run: Run) -> bool:
        """Whether a run has scores. Raises StudyError where they were taken in another way."""
        file = self.folder.scores(run)
        if not file.exists():
            return False
        try:
            read_scores(file, scoring=self.grid.scoring)
        except ScoresError as error:
            raise StudyError(f"{error}; delete {file.parent} or choose another folder") from error
        return True

    def _job(self, run: Run) -> Process:
        outcome = self.folder.outcome(run)
        outcome.unlink(missing_ok=True)  # that of an earlier try
        task = Task(
            recipe=self.folder.recipe(run),
            folder=self.folder.run(run),
            scores=self.folder.run(run) / UNCHECKED,
            outcome=outcome,
            scoring=self.grid.scoring,
        )
        command = (*self.cell, task.model_dump_json())
        return Process(name=run.name, command=command, log=self.folder.log(run))

    def _advance(self, run: Run, ended: Exited, done: int, total: int) -> Advance:
        failure = self._settle(run, ended)
        if failure:
            self.failures[run.name] = failure
        self._seconds.append(ended.seconds)
        each = sum(self._seconds) / len(self._seconds)
        return Advance(
            run=run,
            done=done,
            total=total,
            seconds=ended.seconds,
            eta_s=each * (total - done) / self.workers,
            failure=failure,
        )

    def _settle(self, run: Run, ended: Exited) -> str | None:
        """Keep the scores of a run that ended well; else say why there are none."""
        if ended.code:
            return f"exit code {ended.code}: {failure_of(self.folder.outcome(run))}"
        unchecked = self.folder.run(run) / UNCHECKED
        try:
            read_scores(unchecked, scoring=self.grid.scoring)
        except ScoresError as error:
            return str(error)
        # The name says that a run is finished, so it is given last.
        unchecked.replace(self.folder.scores(run))
        if not self.grid.keep_models:
            for name in ("checkpoints", "model"):
                # Models are most of a study's bytes, and its table needs none of them.
                shutil.rmtree(self.folder.run(run) / name, ignore_errors=True)
        return None

    def results(self) -> tuple[list[Scores], dict[str, str]]:
        """Scores of every finished run of the grid, and of runs whose scores are of no use, why."""
        found, refused = [], {}
        for run in self.grid.runs():
            file = self.folder.scores(run)
            if file.exists():
                try:
                    scores = read_scores(file, scoring=self.grid.scoring)
                except ScoresError as error:
                    refused[run.name] = str(error)
                else:
                    found.append(replace(scores, cell=run.cell, seed=run.seed))
        return found, refused

    def conclude(self) -> str:
        """Compare all that is finished: table.md, table.json and plots; gives the table's text."""
        finished, unusable = self.results()
        scores, other = comparable(self.grid, finished)
        rows = compare(self.grid, scores)
        missing: Mapping[str, str] = {**self.failures, **unusable, **other}
        text = markdown(self.grid, rows, missing)
        disk.write_text(self.out / "table.md", text)
        disk.write_text(self.out / "table.json", as_json(self.grid, rows, missing))
        if rows:
            draw(rows, [self.out / "plot.svg", self.out / "plot.png"])
        return text
