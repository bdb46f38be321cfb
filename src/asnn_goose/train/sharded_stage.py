"""A stage whose student does not fit one device: every process holds a part of each tensor.

Fully sharded data parallelism (Zhao et al. 2023, arXiv 2304.11277; torch's `fully_shard`): weights,
gradients and moments lie in parts, a mixer or MLP is put together for its own pass alone, and
gradients are averaged as they are taken apart. The loss is that of one process on all the batches.

Parts last for a stage. Between stages every process has the whole student in its own main memory:
there its precision changes, and there it is written.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from copy import deepcopy
from typing import cast

import torch
import torch.distributed as dist
from accelerate import Accelerator
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard

from asnn_goose.model.goose.causal_lm import GooseForCausalLM
from asnn_goose.model.teacher import Teacher
from asnn_goose.train.dtensors import whole
from asnn_goose.train.first_batch import waiting
from asnn_goose.train.plan import StagePlan
from asnn_goose.train.run_errors import TrainError
from asnn_goose.train.stages import Stage
from asnn_goose.train.stages.stage import kind_of

ALONE = frozenset({"gkd", "replace", "calibrate_blocks"})
"""Stages whose processes do not run the same parts of a student, or some beside its own modules."""


def check_sharded(plan: StagePlan) -> None:
    """Raise TrainError for what a stage whose student lies in parts cannot do."""
    kind = kind_of(type(plan.stage))
    ending = None if plan.end is None else plan.end.validation
    refused = {
        f"kind = {kind!r}": kind in ALONE,
        "pairs of answers": plan.reference is not None,
        "curriculum": plan.pool is not None,
        "freeze": plan.freeze is not None,
        "end.by = 'validation'": ending is not None,
        "a loss with a head of its own": plan.stage.objective.wants_head,
    }
    fitted = ("balance", "calibrate", "least_squares")
    refused |= {key: bool(getattr(plan.starts, key)) for key in fitted}
    # What a pass writes into a parameter that is put together for it is forgotten with it.
    refused |= dict.fromkeys(plan.precision.starts_on_a_batch if plan.precision else [], True)
    for what in (name for name, used in refused.items() if used):
        raise TrainError(
            f"stage {plan.name!r} has {what}, and train.shard = true: it looks at the student "
            "outside of a training step, where it lies in parts; leave one of them out"
        )


class ShardedStage:
    """A stage that trains a copy of its student in parts, until `gather`."""

    def __init__(self, stage: Stage, accelerator: Accelerator) -> None:
        self.stage = stage
        self._student = cast(GooseForCausalLM, stage.student)
        device = accelerator.device
        # Processes have drawn their own starts of what losses learn: the first one's count.
        stage.objective.to(device)
        for tensor in _tensors(stage.objective):
            dist.broadcast(tensor.data, 0)
        stage.student = copy = _shared_copy(self._student)
        check_sizes(stage)
        mesh = _mesh(accelerator)
        # Mixers give views, which nobody changes in place: that is all the warning is about.
        warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view")
        for block in copy.blocks:
            # The halves and not the block: a stage may run the mixers alone.
            for half in (block.mixer, block.mlp):
                fully_shard(half, mesh=mesh)
        # The stage and not the student: it is what a step calls, whatever of the student it runs.
        fully_shard(stage, mesh=mesh)

    def equalise(self) -> None:
        """Let all processes go on with the running values of the first, as whole students do."""
        for buffer in self.stage.buffers():
            dist.broadcast(buffer, 0)

    @torch.no_grad()
    def gather(self) -> None:
        """Give the stage its whole student back, with all that was learned, on every process."""
        self.equalise()
        learned = dict(_named(self.stage.student))
        for name, tensor in _named(self._student):
            tensor.copy_(whole(learned[name]))
        self.stage.student = self._student


def shard_teacher(teacher: Teacher, accelerator: Accelerator) -> None:
    """Put a frozen teacher on the devices: its blocks in parts, embedding, norm and head whole.

    The head is multiplied outside of the teacher's own pass, chunk by chunk.
    """
    mesh = _mesh(accelerator)
    for layer in teacher.layers:
        # Said and not left open: a block that is nobody's part would stay whole after its pass.
        fully_shard(layer, mesh=mesh, reshard_after_forward=True)
    teacher.model.to(accelerator.device)


def _mesh(accelerator: Accelerator) -> DeviceMesh:
    return init_device_mesh(accelerator.device.type, (accelerator.num_processes,))


def _shared_copy(student: GooseForCausalLM) -> GooseForCausalLM:
    """A second student over the same memory: sharding replaces its tensors, and not the first's."""
    own: dict[int, object] = {
        id(p): nn.Parameter(p.detach(), requires_grad=p.requires_grad) for p in student.parameters()
    }
    return deepcopy(student, own)


def check_sizes(stage: Stage) -> None:
    """Raise TrainError for a parameter that has no rows to share, or that a pass is to set."""
    for name, module in stage.named_modules():
        if waiting([module]) and any(True for _ in module.parameters(recurse=False)):
            raise TrainError(
                f"{name} sets a parameter on its first batch, and train.shard = true would forget "
                "it: train a step without shard before, or leave one of them out"
            )
    for name, parameter in stage.named_parameters():
        if parameter.ndim == 0:
            raise TrainError(
                f"{name} is a single number, and train.shard = true cannot share it among "
                "processes: leave shard out, or the loss that it belongs to"
            )


def _named(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    return (tensor for _, tensor in _named(module))
