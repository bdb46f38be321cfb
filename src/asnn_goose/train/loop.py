"""Carries out a run: stages, steps, checkpoints, resumption."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from asnn_goose.meter import peak_memory
from asnn_goose.ops.allocator import keep_freed_memory
from asnn_goose.train import checkpoint, curriculum, not_finite, resume, starts, trackers
from asnn_goose.train.checkpoint import Snapshot
from asnn_goose.train.folder import RunFolder, locked
from asnn_goose.train.plan import RunPlan, Saveable, StagePlan
from asnn_goose.train.precision_span import cut_short
from asnn_goose.train.progress import Progress, StepInfo
from asnn_goose.train.resume import Position
from asnn_goose.train.run_errors import CheckpointError, RunInterrupted, TrainingDiverged
from asnn_goose.train.signals import StopSignals
from asnn_goose.train.throughput import Pace
from asnn_goose.train.together import agree, check_together, together
from asnn_goose.train.trainer import NotFiniteError, StageTrainer, StepResult


def run(plan: RunPlan, *, out: Path, resume: bool, progress: Progress) -> Path:
    """Train all stages and return the folder of the finished student, `out`/model.

    A new run needs an empty or missing `out`; with `resume` it continues the run in `out`, bit
    for bit as it would have gone on, from the newest checkpoint that is whole (from the start if
    there is none).

    Raises:
        RunFolderError: `out` is taken, in use, or holds nothing to resume.
        CheckpointError: no checkpoint can be read, the last one cannot be written, or the recipe
            is not that of the run.
        TrainingDiverged: a loss, gradient or parameter is not finite.
        TrainError: a stage asks for what so many processes cannot do.
        ProcessLost: one of several processes has ended.
        RunInterrupted: SIGINT or SIGTERM came; a checkpoint was written.
    """
    if plan.settings.threads is not None:
        torch.set_num_threads(plan.settings.threads)
    keep_freed_memory()
    accelerator = plan.accelerator
    check_together(plan)
    tell = progress.on_message if accelerator.is_main_process else lambda text: None
    folder = RunFolder(out)
    with ExitStack() as stack:
        if accelerator.is_main_process:
            folder.check(resume=resume)
            stack.enter_context(locked(out, tell=tell))
        signals = stack.enter_context(StopSignals(tell))
        loop = _Loop(plan, folder, progress, signals)
        with together(accelerator, saved=lambda: loop.saved):
            return loop.carry_out(resume=resume)


class _Loop:
    """One run under way."""

    def __init__(
        self, plan: RunPlan, folder: RunFolder, progress: Progress, signals: StopSignals
    ) -> None:
        self.plan, self.folder, self.progress, self.signals = plan, folder, progress, signals
        self.accelerator = plan.accelerator
        self.main = plan.accelerator.is_main_process
        self.position = Position()
        self.pace = Pace()
        self.saved: Path | None = None
        self.saved_at = time.monotonic()
        self.learned: dict[str, Tensor] = {}

    def carry_out(self, *, resume: bool) -> Path:
        """All that is left of the run."""
        if self.main:
            self.folder.begin(self.plan.recipe_toml, identity=self.plan.identity, resume=resume)
        self.accelerator.wait_for_everyone()
        trackers.begin(self.accelerator, run=self.folder.path, recipe_toml=self.plan.recipe_toml)
        snapshot = self._find_start() if resume else None
        for index in range(self.position.stage, len(self.plan.stages)):
            self._stage(index, snapshot)
            snapshot = None
        return self._finish()

    def _tell(self, text: str) -> None:
        if self.main:
            self.progress.on_message(text)

    def _find_start(self) -> Snapshot | None:
        """Go to the newest good checkpoint; gives its snapshot where a stage is under way."""
        with self.accelerator.main_process_first():
            self.saved = checkpoint.newest(self.folder.checkpoints, tell=self._tell)
        if self.saved is None:
            self._tell("no checkpoint yet: starting again from the beginning")
            self._rewind_metrics()
            return None
        snapshot = checkpoint.read(self.saved)
        self.position = resume.check(self.plan, snapshot.state, tell=self._tell)
        self.pace = Pace(seconds=self.position.seconds)
        resume.restore_weights(self.plan.student, snapshot)
        self.learned = resume.learned_before(snapshot)
        resume.restore_found(self.plan, self.position, snapshot)
        self._rewind_metrics()
        self._tell(f"resumed from {self.saved}")
        return snapshot if self.position.step else None

    def _rewind_metrics(self) -> None:
        if self.main:
            self.folder.rewind_metrics(self.position.run_step)

    def _stage(self, index: int, snapshot: Snapshot | None) -> None:
        stage = self.plan.stages[index]
        # Before the starts: they fit and calibrate the codes that this stage trains.
        resume.change_precision(self.plan.student, stage)
        # Before the trainer would do it: fits and rankings run batches of the device through it.
        if not self.plan.settings.shard:  # whose student need not fit there
            stage.stage.to(self.accelerator.device)
        if snapshot is None:
            starts.start(stage, accelerator=self.accelerator, tell=self._tell)
        self._order_windows(stage)
        if stage.reference is not None:
            stage.reference.prepare(stage.stage, accelerator=self.accelerator, tell=self._tell)
        trainer = StageTrainer(stage, settings=self.plan.settings, accelerator=self.accelerator)
        # After the trainer, which makes the projectors that are to take it over.
        resume.take_over(stage.stage.objective, self.learned)
        if snapshot is not None:
            resume.restore_trainer(trainer, snapshot, rank=self.accelerator.process_index)
        self.pace.forget()
        for number in range(self.position.step, stage.steps):
            if self._step(trainer, number).ended:
                break
            if number + 1 < stage.steps:
                self._pause(trainer)
        trainer.close()
        following = self.plan.stages[index + 1 : index + 2]
        keeps = any(plan.goes_on for plan in following)
        self.learned = self.learned | resume.learned_by(stage.stage.objective) if keeps else {}
        self.position = replace(self.position, stage=index + 1, step=0)
        self._pause(None)

    def _order_windows(self, stage: StagePlan) -> None:
        """Rank the windows of a curriculum once, with the student as it is before the first."""
        pool = stage.pool
        if pool is None or pool.order is not None:
            return
        self._tell(f"ranking {len(pool.places)} windows for stage {stage.name}")
        micro = stage.tokens_per_step // stage.accumulate // self.accelerator.num_processes
        pool.order = curriculum.rank(
            stage.stage,
            pool.windows,
            pool.places,
            batch=max(1, micro // pool.window),
            accelerator=self.accelerator,
        )

    def _step(self, trainer: StageTrainer, number: int) -> StepResult:
        tokens = trainer.plan.tokens_per_step
        with self._located(trainer.plan.name, number), self.pace.measure(tokens):
            result = trainer.step(number)
        self.position = replace(
            self.position,
            step=number + 1,
            run_step=self.position.run_step + 1,
            tokens=self.position.tokens + tokens,
            seconds=self.pace.seconds,
        )
        if self.main:
            self._report(self._info(trainer, result), last=result.ended)
        for text in result.warnings:
            self._tell(f"stage {trainer.plan.name}, step {number + 1}: {text}")
        if result.ended:
            self._tell(f"stage {trainer.plan.name} ends after {number + 1} steps: no improvement")
            for text in cut_short(trainer.plan, self.position.step):
                self._tell(text)
        return result

    @contextmanager
    def _located(self, stage: str, number: int) -> Iterator[None]:
        """Say where in the run something was not finite."""
        try:
            yield
        except NotFiniteError as error:
            raise TrainingDiverged(
                step=number + 1, stage=stage, tensor=str(error), checkpoint=self.saved
            ) from None

    def _info(self, trainer: StageTrainer, result: StepResult) -> StepInfo:
        left = self._tokens_left(trainer.plan, ended=result.ended)
        return StepInfo(
            stage=trainer.plan.name,
            stage_index=self.position.stage,
            stages=len(self.plan.stages),
            step=self.position.step,
            steps=trainer.plan.steps,
            run_step=self.position.run_step,
            tokens_seen=self.position.tokens,
            tokens_total=self.position.tokens + left,
            loss=sum(result.terms.values()),
            terms=result.terms,
            lr=result.lr,
            grad_norm=result.grad_norm,
            tokens_per_s=self.pace.tokens_per_s,
            eta_s=self.pace.eta_s(left),
            memory_bytes=peak_memory(self.accelerator.device),
            seconds=self.pace.seconds,
            readings=result.readings,
            watch=result.watch,
        )

    def _tokens_left(self, stage: StagePlan, *, ended: bool) -> int:
        """Tokens that the rest of this stage and the stages after it may take."""
        here = 0 if ended else (stage.steps - self.position.step) * stage.tokens_per_step
        return here + sum(later.tokens for later in self.plan.stages[self.position.stage + 1 :])

    def _report(self, info: StepInfo, *, last: bool) -> None:
        """Tell the watcher and the trackers, and write a line where one is due."""
        self.progress.on_step(info)
        if last or info.is_due(self.plan.settings.log_every):
            trackers.log(self.accelerator, info)
            if trouble := self.folder.metrics.append(info):
                self._tell(trouble)

    def _pause(self, trainer: StageTrainer | None) -> None:
        """Between two steps: write a checkpoint where one is due, stop where a signal came.

        `trainer` is None at the end of a stage, where one is always due.
        """
        stop = agree(self.accelerator, self.signals.received is not None)
        minutes = (time.monotonic() - self.saved_at) / 60
        late = agree(self.accelerator, minutes >= self.plan.settings.checkpoint_minutes)
        if stop or late or trainer is None:
            last = trainer is None and self.position.stage == len(self.plan.stages)
            self._save(trainer, must=stop or last)
        if stop:
            received = self.signals.received or signal.SIGTERM  # another process got it
            raise RunInterrupted(
                signal=received, name=received.name, checkpoint=cast(Path, self.saved)
            )

    def _save(self, trainer: StageTrainer | None, *, must: bool) -> None:
        """Write a checkpoint; one that fails is reported, and tried again when the next is due.

        Raises CheckpointError where it `must` succeed, TrainingDiverged before saving weights
        that are not finite.
        """
        self._check_weights(self.plan.student if trainer is None else trainer.plan.stage.student)
        snapshot = resume.capture(self.plan, self.position, trainer, self.learned)
        self.saved_at = time.monotonic()
        folder = self.folder.checkpoints
        if self.main:
            # Lines first: a run that goes on can drop lines too many, and never write those it
            # lacks.
            self.folder.metrics.flush()
            self.folder.metrics.sync()
        elif not snapshot.in_parts:
            self.saved = checkpoint.path_of(folder, self.position.run_step)
            return
        try:
            self.saved = checkpoint.write(
                folder, run_step=self.position.run_step, snapshot=snapshot
            )
        except CheckpointError as error:
            if must:
                raise CheckpointError(f"{error}; make room, and resume the run") from error
            self._tell(f"{error}; training goes on")
            return
        if self.main:
            checkpoint.prune(folder, keep=self.plan.settings.keep)
            self._tell(f"saved {self.saved}")

    def _check_weights(self, student: nn.Module) -> None:
        tensor = not_finite.bad_tensor(student)
        if tensor is not None:
            before = self.plan.stages[max(0, self.position.stage - (self.position.step == 0))]
            raise TrainingDiverged(
                step=self.position.step or before.steps,
                stage=before.name,
                tensor=tensor,
                checkpoint=self.saved,
            )

    def _finish(self) -> Path:
        """Write model/ and say so; of the checkpoints only the last stays."""
        if self.main:  # before the model, with which a run is complete and nobody comes back
            checkpoint.prune(self.folder.checkpoints, keep=1)
        if self.main and not self.folder.model.exists():
            self.folder.write_model(cast(Saveable, self.plan.student), self.plan.tokenizer)
            self._tell(f"the student is in {self.folder.model}")
        self.accelerator.wait_for_everyone()
        return self.folder.model
