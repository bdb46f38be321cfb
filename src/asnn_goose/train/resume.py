"""Between a run in memory and a snapshot of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from asnn_goose.train import optimiser, rng
from asnn_goose.train.checkpoint import Snapshot
from asnn_goose.train.dtensors import put, whole
from asnn_goose.train.plan import Precise, RunPlan, StagePlan
from asnn_goose.train.run_errors import CheckpointError
from asnn_goose.train.trainer import StageTrainer

_RNG, _REFERENCE, _LEARNED = "rng/", "reference/", "learned."


@dataclass(frozen=True, kw_only=True)
class Position:
    """Where a run stands.

    stage     number of the stage that is next, or under way
    step      steps of that stage that are done
    run_step  steps of the run that are done
    tokens    training tokens seen, all processes
    seconds   time spent training
    """

    stage: int = 0
    step: int = 0
    run_step: int = 0
    tokens: int = 0
    seconds: float = 0.0


def environment(accelerator: Accelerator) -> dict[str, Any]:
    """What decides the order of floating-point sums, and so the last bits of every weight."""
    return {
        "threads": torch.get_num_threads(),
        "processes": accelerator.num_processes,
        "device": accelerator.device.type,
        "torch": torch.__version__,
    }


def stored_names(plan: RunPlan, position: Position) -> set[str]:
    """Student parameters that changed before `position`: the rest is what the run began with.

    A new precision may move every matrix into another basis, and a fold changes what never trained.
    """
    begun = plan.stages[: position.stage + (position.step > 0)]
    if any(stage.precision is not None or stage.stage.folds for stage in begun):
        return {name for name, _ in plan.student.named_parameters()}
    return {name for stage in begun for name in stage.trained()}


def set_precision(plan: RunPlan, position: Position) -> None:
    """Give the student the precision it has at `position`.

    The weights that were saved there are put back afterwards.
    """
    begun = plan.stages[: position.stage + (position.step > 0)]
    for stage in begun:
        change_precision(plan.student, stage)


def change_precision(student: nn.Module, stage: StagePlan) -> None:
    """What the beginning of `stage` does to the student's precision."""
    if stage.precision is not None:
        cast(Precise, student).set_precision(stage.precision)


def capture(
    plan: RunPlan,
    position: Position,
    trainer: StageTrainer | None,
    learned: Mapping[str, Tensor],
) -> Snapshot:
    """Everything needed to go on from `position`; `trainer` is None between stages.

    `learned` is what losses of earlier phases of a curriculum have learned.
    Called on every process, for each adds its random number generators.
    """
    generators = gather_object([rng.tensors(plan.accelerator.device)])
    stored = stored_names(plan, position)
    tensors = {f"{_RNG}{rank}/{k}": v for rank, g in enumerate(generators) for k, v in g.items()}
    state: dict[str, Any] = {
        "position": asdict(position),
        "identity": dict(plan.identity),
        "environment": environment(plan.accelerator),
        # What never trained is not stored again with every checkpoint; its digest is enough to see
        # that the teacher is still the same.
        "frozen_sha256": frozen_digest(plan.student, stored),
        "generators": gather_object([rng.plain()]),
        "orders": orders(plan),
    }
    # Under way that may be a student in parts; the plan's own is then what the stage began with.
    student = plan.student if trainer is None else trainer.plan.stage.student
    model = _weights(student, "student.", stored)
    model |= _named(_LEARNED, learned)
    if trainer is not None:
        state["loader"] = trainer.plan.loader.state()
        state["trainer"] = trainer.state()
        objective = trainer.plan.stage.objective
        own = {name for name, _ in objective.named_parameters()}
        model |= _weights(objective, "objective.", own)
        tensors |= optimiser.state_tensors(trainer.optimiser, trainer.trained)
        reference = trainer.plan.reference
        model |= {} if reference is None else _named(_REFERENCE, reference.tensors())
    return Snapshot(model=_movable(model), optimiser=_movable(tensors), state=state)


def orders(plan: RunPlan) -> dict[str, list[int]]:
    """Orders of windows that curricula have found, by the first stage that uses them."""
    found: dict[str, list[int]] = {}
    seen: set[int] = set()
    for index, stage in enumerate(plan.stages):
        if stage.pool is not None and id(stage.pool) not in seen:
            seen.add(id(stage.pool))
            if stage.pool.order is not None:
                found[str(index)] = stage.pool.order
    return found


def restore_found(plan: RunPlan, position: Position, snapshot: Snapshot) -> None:
    """Put back what stages found out at their start: orders of windows, and a reference."""
    for index, order in snapshot.state.get("orders", {}).items():
        pool = plan.stages[int(index)].pool
        if pool is not None:
            pool.order = list(order)
    reference = plan.stages[position.stage].reference if position.step else None
    if reference is not None:
        reference.restore(_below(_REFERENCE, snapshot.model))


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those whose names begin so, without that."""
    return {k.removeprefix(prefix): x for k, x in tensors.items() if k.startswith(prefix)}


def _named(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def _weights(module: nn.Module, prefix: str, names: set[str]) -> dict[str, Tensor]:
    """Parameters in `names`, and buffers that are part of the module's state."""
    saved = module.state_dict().keys()
    kept: dict[str, Tensor] = {n: p for n, p in module.named_parameters() if n in names}
    kept |= {name: b for name, b in module.named_buffers() if name in saved}
    return _named(prefix, kept)


def _movable(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    # Parts stay where they are: they are written by those who hold them.
    plain = {k: x.detach().cpu().contiguous() for k, x in tensors.items() if not _in_parts(x)}
    return plain | {k: x.detach() for k, x in tensors.items() if _in_parts(x)}


def _in_parts(tensor: Tensor) -> bool:
    return isinstance(tensor, DTensor)


def frozen_digest(student: nn.Module, stored: set[str]) -> str:
    """sha256 of the student's parameters that are not in `stored`."""
    digest = hashlib.sha256()
    for name, parameter in student.named_parameters():
        if name not in stored:
            digest.update(name.encode())
            digest.update(parameter.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def check(plan: RunPlan, state: Mapping[str, Any], *, tell: Callable[[str], None]) -> Position:
    """Whether this run may continue from a snapshot with that `state`; returns where it stands.

    Raises CheckpointError where the recipe, the number of processes or the frozen weights
    differ. Another thread count, device or torch is allowed and reported.
    """
    _check_identity(state["identity"], plan.identity)
    then, now = state["environment"], environment(plan.accelerator)
    if then["processes"] != now["processes"]:
        raise CheckpointError(
            f"this run was started on {then['processes']} processes and is resumed on "
            f"{now['processes']}: every process reads its own share of the data"
        )
    for key in now:
        if then[key] != now[key]:
            tell(
                f"{key} was {then[key]} and is {now[key]}: the run continues, but not bit for bit "
                "as it would have"
            )
    position = Position(**state["position"])
    # Before the digest: a new basis rewrites matrices, frozen ones too.
    set_precision(plan, position)
    stored = stored_names(plan, position)
    if state["frozen_sha256"] != frozen_digest(plan.student, stored):
        raise CheckpointError(
            "the weights that the student took over from its teacher differ from those at the "
            "start of this run: the teacher has changed"
        )
    return position


def _check_identity(then: Mapping[str, str], now: Mapping[str, str]) -> None:
    for key in sorted(then.keys() | now.keys()):
        if then.get(key) != now.get(key):
            raise CheckpointError(
                f"{key} was {then.get(key, 'not set')} when this run began and is "
                f"{now.get(key, 'not set')} now: resume with the recipe.toml of the run folder, "
                "or start a new run in another folder"
            )


def restore_weights(student: nn.Module, snapshot: Snapshot) -> None:
    """Put the student's weights and buffers back."""
    _copy_into(student, _below("student.", snapshot.model))


def learned_by(objective: nn.Module) -> dict[str, Tensor]:
    """What the losses know by now: parameters and running values, by name."""
    return {name: whole(x.detach()).clone() for name, x in objective.state_dict().items()}


def learned_before(snapshot: Snapshot) -> dict[str, Tensor]:
    """What earlier phases of a curriculum had learned when the snapshot was taken."""
    return _below(_LEARNED, snapshot.model)


def take_over(objective: nn.Module, learned: Mapping[str, Tensor]) -> None:
    """Begin with what losses of the same names have learned before."""
    own = objective.state_dict().keys()
    _copy_into(objective, {k: t for k, t in learned.items() if k in own})


def restore_trainer(trainer: StageTrainer, snapshot: Snapshot, *, rank: int) -> None:
    """Put back what belongs to a stage under way: optimiser, objective, data, generators."""
    moments = {k: v for k, v in snapshot.optimiser.items() if not k.startswith(_RNG)}
    optimiser.restore_state(trainer.optimiser, trainer.trained, moments)
    _copy_into(trainer.plan.stage.objective, _below("objective.", snapshot.model))
    trainer.plan.loader.restore(snapshot.state["loader"])
    trainer.restore(snapshot.state.get("trainer", {}))
    own = _below(f"{_RNG}{rank}/", snapshot.optimiser)
    # Last: building the trainer and its optimiser has drawn from the generators.
    rng.restore_tensors(own, next(trainer.plan.stage.student.parameters()).device)
    rng.restore_plain(snapshot.state["generators"][rank])


def _copy_into(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    targets = dict(module.named_parameters()) | dict(module.named_buffers())
    for name, tensor in tensors.items():
        put(targets[name], tensor)
