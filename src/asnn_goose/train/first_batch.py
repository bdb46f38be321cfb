"""What is measured on the first batch is the same on all processes: that of the first of them.

One process measures on the first micro-batch, and codes all later ones by it. Of several each would
code its first one by numbers of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, cast, runtime_checkable

import torch
import torch.distributed as dist
from accelerate import Accelerator
from torch import nn


@runtime_checkable
class Measuring(Protocol):
    """A module that measures itself on its first training batch that is not silent."""

    @property
    def waits(self) -> bool:
        """Whether it has not yet."""


def waiting(modules: Sequence[nn.Module]) -> list[nn.Module]:
    """Those that wait for their first batch: on every process the same ones."""
    return [module for module in modules if isinstance(module, Measuring) and module.waits]


@torch.no_grad()
def share(before: Sequence[nn.Module], accelerator: Accelerator) -> bool:
    """After a forward, let modules that waited before it hold what the first process measured.

    Returns whether any did: that forward was made with numbers of one's own, and counts for
    nothing. A batch that is silent somewhere measures nothing there; the next process's counts.
    """
    nobody = accelerator.num_processes
    ranks = [nobody if cast(Measuring, m).waits else accelerator.process_index for m in before]
    first_n = torch.tensor(ranks, device=accelerator.device)
    dist.all_reduce(first_n, dist.ReduceOp.MIN)
    owners = cast("list[int]", first_n.tolist())
    for module, owner in zip(before, owners, strict=True):
        if owner < nobody:
            for tensor in (*module.parameters(), *module.buffers()):
                dist.broadcast(tensor.data, owner)
    return any(owner < nobody for owner in owners)
