"""The calibrated start of a stage: no gradient yet, just better ternary weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import cast

import torch

from asnn_goose.model.goose.calibrate import STREAM, calibrate
from asnn_goose.model.goose.causal_lm import GooseForCausalLM
from asnn_goose.trace import Trace
from asnn_goose.train.errors import TrainError
from asnn_goose.train.plan import StagePlan


def start(
    plan: StagePlan, *, tokens: int, device: torch.device, tell: Callable[[str], None]
) -> None:
    """Round the student's ternary matrices for the outputs they have on the stage's first windows.

    The stage reads those windows again afterwards. Raises TrainError where the precision is one
    that calibration does not know.
    """
    student = cast(GooseForCausalLM, plan.stage.student)
    place, training = plan.loader.state(), student.training
    student.train(False)
    try:
        count = calibrate(student, _traces(plan, tokens, device))
    except ValueError as error:
        raise TrainError(f"stage {plan.name!r}: {error}") from error
    finally:
        plan.loader.restore(place)
        student.train(training)
    tell(f"calibrated {count} ternary matrices on {tokens} tokens")


@torch.no_grad()
def _traces(plan: StagePlan, tokens: int, device: torch.device) -> Iterator[Trace]:
    micro = plan.tokens_per_step // plan.accumulate
    for _ in range(math.ceil(tokens / micro)):
        batch = plan.loader.next(0.0).to(device)
        within = plan.stage.documents(batch)
        yield plan.stage.teacher.trace(batch.tokens_BT, STREAM, **within)
