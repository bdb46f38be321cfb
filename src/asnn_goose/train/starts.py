"""Starts of a stage that need no gradient: weights chosen from what the teacher's layers do."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import cast

import torch
from accelerate import Accelerator
from torch import Tensor

from asnn_goose.model.goose.causal_lm import GooseForCausalLM
from asnn_goose.model.goose.kept import STREAM
from asnn_goose.model.starts import balance, calibrate, least_squares
from asnn_goose.model.starts.total import Total
from asnn_goose.trace import Batch, Trace
from asnn_goose.train.plan import StagePlan
from asnn_goose.train.run_errors import TrainError

Fit = Callable[[GooseForCausalLM, Iterable[Trace], Total], int]


def start(plan: StagePlan, *, accelerator: Accelerator, tell: Callable[[str], None]) -> None:
    """Balance channels, fit output projections, or choose ternary weights, as the stage asks.

    The stage reads the windows again that this takes, of several processes each its share. Raises
    TrainError where the student is one that the method does not know.
    """
    starts = plan.starts
    # The order matters: balance changes what columns of all matrices mean, fits then find weights
    # for those columns, and codes are chosen last for weights that stay.
    if starts.balance:
        fit = partial(balance.balance, strength=starts.balance_strength)
        count = _carry_out(plan, fit, starts.balance, STREAM, accelerator)
        tell(f"balanced the channels of {count} places on {starts.balance} tokens")
    if starts.least_squares:
        fits = least_squares.fit_outputs
        needs = least_squares.AROUND_MIXERS
        count = _carry_out(plan, fits, starts.least_squares, needs, accelerator)
        tell(f"fitted {count} output projections on {starts.least_squares} tokens")
    if starts.calibrate:
        count = _carry_out(plan, calibrate.calibrate, starts.calibrate, STREAM, accelerator)
        tell(f"calibrated {count} ternary matrices on {starts.calibrate} tokens")


def _carry_out(
    plan: StagePlan, fit: Fit, tokens: int, needs: frozenset[str], accelerator: Accelerator
) -> int:
    def total(own: Tensor) -> Tensor:
        """The sum over all processes, where `own` lies."""
        there = own.to(accelerator.device)
        return cast(Tensor, accelerator.reduce(there, "sum")).to(own.device)

    student = cast(GooseForCausalLM, plan.stage.student)
    place, training = plan.loader.state(), student.training
    # Neurons and sub-norms measure themselves on training batches; these are none.
    student.train(False)
    try:
        return fit(student, _traces(plan, tokens, needs, accelerator.device), total)
    except ValueError as error:
        raise TrainError(f"stage {plan.name!r}: {error}") from error
    finally:
        # The windows are read again by the first steps: a stage with a start sees the same data as
        # one without.
        plan.loader.restore(place)
        student.train(training)


@torch.no_grad()
def _traces(
    plan: StagePlan, tokens: int, needs: frozenset[str], device: torch.device
) -> Iterator[Trace]:
    micro = plan.tokens_per_step // plan.accumulate
    for _ in range(math.ceil(tokens / micro)):
        batch = cast(Batch, plan.loader.next(0.0)).to(device)
        window = plan.stage.window(batch)
        yield _full(plan.stage.teacher.trace(batch.tokens_BT, needs, window=window))


def _full(trace: Trace) -> Trace:
    """The same in fp32: fits solve and compare in the student's precision, not a bf16 teacher's."""

    def full(place: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(x.float() for x in place)

    return replace(
        trace,
        hidden=full(trace.hidden),
        mixer_in=full(trace.mixer_in),
        mixer_out=full(trace.mixer_out),
        mlp_out=full(trace.mlp_out),
    )
