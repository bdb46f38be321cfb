"""Finds the first tensor that is not finite.

The loop looks at two numbers it has anyway, the loss and the norm of the gradient; only when one
of them is not finite does it come here to learn where that began.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from asnn_goose.data.pair_batches import PairBatch
from asnn_goose.trace import Batch
from asnn_goose.train.dtensors import whole
from asnn_goose.train.optimiser import Trained


def culprit(
    stage: nn.Module,
    *,
    trained: Sequence[Trained],
    batches: Iterable[Batch | PairBatch],
    terms: Mapping[str, float],
) -> str:
    """Name what first went wrong in a step: a tensor, a module's output, a term or a gradient."""
    # The order is that in which trouble spreads: a bad parameter spoils outputs, these the loss,
    # that the gradients. All are looked at, found or not: where tensors lie in parts every process
    # has to ask for the same ones, and the trouble may be in one process's batch alone.
    looks = (
        bad_tensor(stage),
        _bad_output(stage, batches),
        _bad_term(terms),
        _bad_gradient(trained),
    )
    return next((found for found in looks if found), "the sum of the gradients")


def bad_tensor(stage: nn.Module) -> str | None:
    """The first parameter, or value that runs along, that is not finite."""
    kinds = {"parameter": stage.named_parameters(), "buffer": stage.named_buffers()}
    for kind, tensors in kinds.items():
        for name, tensor in tensors:
            if not _finite(tensor):
                return f"{kind} {name!r}"
    return None


@torch.no_grad()
def _bad_output(stage: nn.Module, batches: Iterable[Batch | PairBatch]) -> str | None:
    """The student's innermost module that first gives a bad output when the step runs again."""
    found: list[str] = []
    handles = [
        module.register_forward_hook(partial(_note_bad_output, found, name))
        for name, module in stage.named_modules()
        if name.startswith("student.")
    ]
    # The step is run again with hooks: watching every output of every step would cost what is
    # needed once in a run.
    for batch in batches:
        stage(batch)
    for handle in handles:
        handle.remove()
    return found[0] if found else None


def _note_bad_output(
    found: list[str], name: str, module: nn.Module, args: Any, output: Any
) -> None:
    if not all(_finite(tensor) for tensor in _tensors(output)):
        found.append(f"output of {name!r}")


def _tensors(output: Any) -> Iterable[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        for value in output.values():
            yield from _tensors(value)
    elif isinstance(output, tuple | list):
        for value in output:
            yield from _tensors(value)


def _bad_term(terms: Mapping[str, float]) -> str | None:
    bad = (name for name, value in terms.items() if not torch.tensor(value).isfinite())
    name = next(bad, None)
    return None if name is None else f"loss term {name!r}"


def _bad_gradient(trained: Sequence[Trained]) -> str | None:
    """The bad gradient nearest to the loss: backward goes from the last parameter to the first."""
    for entry in reversed(trained):
        if entry.parameter.grad is not None and not _finite(entry.parameter.grad):
            return f"gradient of {entry.name!r}"
    return None


def _finite(tensor: Tensor) -> bool:
    # A sum is not finite where an element is not; only then is it worth looking at each.
    return bool(whole(tensor.sum()).isfinite()) or bool(whole(tensor.isfinite().all()))
