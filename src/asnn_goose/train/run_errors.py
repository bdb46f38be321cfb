"""What can stop a run, each with a message that its user can act on."""

from __future__ import annotations

from pathlib import Path


class TrainError(RuntimeError):
    """Base of everything that a run reports instead of a traceback."""


class RunFolderError(TrainError):
    """The run folder is taken, empty, in use or cannot be written."""


class CheckpointError(TrainError):
    """A checkpoint cannot be written, read or continued from."""


class TrainingDiverged(TrainError):  # noqa: N818 - says what happened
    """A loss, gradient or parameter is not finite; the step was neither applied nor saved.

    step        step of the stage, counted from 1
    stage       name of the stage
    tensor      the first offending tensor
    checkpoint  newest good checkpoint, or None where there is none yet
    """

    def __init__(self, *, step: int, stage: str, tensor: str, checkpoint: Path | None) -> None:
        self.step, self.stage, self.tensor, self.checkpoint = step, stage, tensor, checkpoint
        kept = f"last good checkpoint: {checkpoint}" if checkpoint else "there is no checkpoint yet"
        super().__init__(
            f"training diverged in stage {stage!r} at step {step}: {tensor} is not finite; "
            f"the step was not applied; {kept}. Lower lr, lengthen warmup or tighten clip"
        )


class ProcessLost(TrainError):  # noqa: N818 - says what happened
    """Another of the processes that train together is gone, and a step cannot be finished.

    checkpoint  newest good checkpoint, or None where there is none yet
    """

    def __init__(self, *, checkpoint: Path | None, said: str) -> None:
        self.checkpoint = checkpoint
        after = f"resume it from {checkpoint}" if checkpoint else "there is no checkpoint yet"
        super().__init__(f"another process of this run has ended; {after} ({said})")


class RunInterrupted(TrainError):  # noqa: N818 - not an error
    """SIGINT or SIGTERM came; the run was saved and stopped.

    signal      number of the signal
    checkpoint  where the run continues from
    """

    def __init__(self, *, signal: int, name: str, checkpoint: Path) -> None:
        self.signal, self.checkpoint = signal, checkpoint
        super().__init__(f"stopped by {name}; saved {checkpoint}: resume it to go on")

    @property
    def exit_code(self) -> int:
        """Exit code that shells expect of a process ended by this signal."""
        return 128 + self.signal
