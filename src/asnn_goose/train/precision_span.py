"""How long full precision lasts in training."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from asnn_goose.model.neurons import Neuron
from asnn_goose.model.ternary import TernaryMethod
from asnn_goose.train.plan import StagePlan

SPANS = ("until", "eight_bit", "fade")
"""Settings of methods and neurons: the share of the training up to which something is left."""


def annealed_until(student: nn.Module) -> float:
    """Share of the training after which nothing of a higher precision is left; 0: none ever was."""
    parts = (m for m in student.modules() if isinstance(m, TernaryMethod | Neuron))
    return max((float(getattr(part, span, 0.0)) for part in parts for span in SPANS), default=0.0)


def cut_short(stage: StagePlan, step: int) -> Iterator[str]:
    """A warning where an early end leaves a student that full precision still carried."""
    clock, until = stage.stage.anneals, annealed_until(stage.stage.student)
    done = clock.at(stage.clock.at(step / stage.steps))
    if until > done and clock.at(stage.clock.stop) > 1 - 1e-9:  # else the next stage goes on
        yield (
            f"stage {stage.name} ended at {done:.0%} of the training at its precision, which "
            f"falls until {until:.0%}: the student was hardly trained at what it now has; "
            "set until below the end, or leave [stage.end] out"
        )
