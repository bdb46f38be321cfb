"""Several processes that train one student: none goes on without the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from accelerate import Accelerator
from torch.distributed import DistError

from asnn_goose.train.gradient_rule import SumSettings
from asnn_goose.train.plan import RunPlan, StagePlan
from asnn_goose.train.run_errors import ProcessLost, TrainError
from asnn_goose.train.sharded_stage import check_sharded


@contextmanager
def together(accelerator: Accelerator, *, saved: Callable[[], Path | None]) -> Iterator[None]:
    """Raise ProcessLost where an exchange with the other processes fails: one of them is gone.

    saved  gives the newest checkpoint
    """
    try:
        yield
    except RuntimeError as error:
        # Gloo's own errors are of no class of their own.
        exchange = isinstance(error, DistError) or "gloo" in str(error)
        if accelerator.num_processes == 1 or not exchange:
            raise
        # Nothing is saved now: a checkpoint holds the generators of all processes.
        raise ProcessLost(checkpoint=saved(), said=str(error).splitlines()[0]) from error


def check_together(plan: RunPlan) -> None:
    """Raise TrainError where a stage asks for what so many processes cannot do."""
    for stage in plan.stages:
        check_alone(stage, plan.accelerator)
        if plan.settings.shard:
            check_sharded(stage)


def check_alone(plan: StagePlan, accelerator: Accelerator) -> None:
    """Raise TrainError where a stage does what one process must do alone, and several train."""
    if accelerator.num_processes == 1:
        return
    apart = {plan.rule.name: plan.rule != SumSettings(), "watch": plan.watch is not None}
    for key in (name for name, used in apart.items() if used):
        raise TrainError(
            f"stage {plan.name!r} has [stage.{key}] and {accelerator.num_processes} processes "
            "train: gradients of single terms are not exchanged between processes; train on "
            f"one, or leave {key} out"
        )


def agree(accelerator: Accelerator, flag: bool) -> bool:
    """True on every process where `flag` is true on any."""
    if accelerator.num_processes == 1:
        return flag
    counted = torch.tensor(float(flag), device=accelerator.device)
    return bool(accelerator.reduce(counted, "sum") > 0)
