"""What a run tells the one who watches it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class StepInfo:
    """One optimiser step.

    stage, stage_index, stages   name of the stage, its number from 0, how many there are
    step, steps                  step of the stage, counted from 1, and how many it has
    run_step                     steps since the start of the run
    tokens_seen, tokens_total    training tokens of the whole run, all processes
    loss, terms                  weighted sum, and each weighted term by name
    lr                           rate of groups whose scale is 1
    grad_norm                    2-norm over all gradients, before clipping
    tokens_per_s                 over the last steps, checkpoints not counted
    eta_s                        seconds to the end of the run at that pace
    memory_bytes                 peak memory of this process (of the device where it has its own)
    seconds                      time spent training, earlier parts of a resumed run included
    readings                     numbers of the losses, such as `ctkd.temperature`, and at the steps
                                 where they were taken `validation` with its parts `.ce`, `.kl`;
                                 `before.` has the same as the stage found it, at its first step
    watch                        what the watchman measured at this step (watch.measure)
    """

    stage: str
    stage_index: int
    stages: int
    step: int
    steps: int
    run_step: int
    tokens_seen: int
    tokens_total: int
    loss: float
    terms: dict[str, float]
    lr: float
    grad_norm: float
    tokens_per_s: float
    eta_s: float
    memory_bytes: int
    seconds: float
    readings: dict[str, float] = field(default_factory=dict)
    watch: dict[str, Any] | None = None

    def is_due(self, every: int) -> bool:
        """Whether the step deserves a line: every so many do, the last, and where one looked."""
        looked = any(name.startswith(("validation", "before")) for name in self.readings)
        return looked or self.watch is not None or self.step == self.steps or self.step % every == 0


class Progress(Protocol):
    """A watcher; called in the main process only."""

    def on_step(self, info: StepInfo) -> None:
        """Called after every optimiser step."""

    def on_message(self, text: str) -> None:
        """Called with a sentence for the user: saved, resumed, damaged, a warning."""
