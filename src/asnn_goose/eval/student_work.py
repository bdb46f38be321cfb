"""Operations per token of a student in PyTorch, for those that the engine does not run.

The same table of costs as `eval.energy` has for packed models. What is counted is what arithmetic
on events needs, not what PyTorch does: a product with a vector of which some numbers are 0 is
additions for the others, and needs multiplications only where these are not all alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import torch
from torch import Tensor

from asnn_goose.eval.energy import Work
from asnn_goose.eval.spikes.tally import stand_in
from asnn_goose.model import GooseForCausalLM
from asnn_goose.model.neurons import Neuron
from asnn_goose.model.neurons.lif import LIF
from asnn_goose.model.parts.projection import Projection
from asnn_goose.shape.slots import EMBEDDING, MatrixSlot
from asnn_goose.shape.student import layout, recurrence

MEMBRANE = {"fp32_add": 3.0, "fp32_mult": 1.0}
"""Of one LIF neuron in one step: two additions, a comparison, a product with 1/tau."""


@dataclass
class Events:
    """What one matrix read: events (numbers that are not 0, each counted by its size), and tokens.

    whole  whether all of it were whole numbers, so that additions do
    """

    events: float = 0.0
    tokens: int = 0
    whole: bool = True

    def see(self, x_BK: Tensor) -> None:
        """Count one input (..., K)."""
        self.whole &= bool((x_BK == x_BK.round()).all())
        self.events += float(x_BK.abs().double().sum())
        self.tokens += x_BK[..., 0].numel()


@dataclass
class Meter:
    """Inputs of matrices by name, and steps of LIF neurons, on the way through a student."""

    inputs: dict[str, Events] = field(default_factory=dict)
    membranes: int = 0

    def read(self, name: str, x_BK: Tensor) -> None:
        """Note an input of the matrix `name`."""
        self.inputs.setdefault(name, Events()).see(x_BK)

    def charged(self, spikes: Tensor) -> None:
        """Note so many steps of LIF neurons."""
        self.membranes += spikes.numel()


@torch.no_grad()
def student_work(student: GooseForCausalLM, tokens_BT: Tensor) -> list[Work]:
    """Operations per token by part of the model, as measured on tokens (B,T) in eval mode.

    A matrix whose inputs are all whole numbers costs an addition of a weight per event, and a
    number of n as many as n; another one a multiplication and an addition per weight.
    """
    was, meter = student.training, Meter()
    student.train(False)
    with ExitStack() as stack:
        _watch(student, meter, stack)
        student.trace(tokens_BT, frozenset({"vocab"}))
    student.train(was)
    parts: dict[str, Counter[str]] = {}
    for part, operations in _operations(student, meter, tokens=tokens_BT.numel()):
        parts.setdefault(part, Counter()).update(operations)
    return [Work(part=part, operations=dict(found)) for part, found in parts.items()]


def _watch(student: GooseForCausalLM, meter: Meter, stack: ExitStack) -> None:
    """Let the meter see every input of a matrix, until the stack is closed."""
    for name, module in student.named_modules():
        if isinstance(module, Projection) and module.neuron is None:
            hook = module.register_forward_pre_hook(
                lambda _, args, name=name: meter.read(name, args[0])
            )
            stack.callback(hook.remove)
        elif isinstance(module, Neuron):
            see = _sight(student, name, module, meter)
            if module.stateful:
                stack.enter_context(stand_in(module, see))
            else:
                hook = module.register_forward_hook(lambda _, __, out, see=see: see(out))
                stack.callback(hook.remove)


def _sight(
    student: GooseForCausalLM, name: str, neuron: Neuron, meter: Meter
) -> Callable[[Tensor], None]:
    """What to do with the spikes of a neuron, which may stand before a matrix."""
    owner = name.rpartition(".")[0]
    reads = isinstance(student.get_submodule(owner), Projection)

    def see(spikes_BK: Tensor) -> None:
        if reads:
            meter.read(owner, in_units(spikes_BK))
        if isinstance(neuron, LIF):
            meter.charged(spikes_BK)

    return see


def in_units(values_BK: Tensor) -> Tensor:
    """Spikes as whole numbers: values in units of the smallest of their token."""
    size_BK = values_BK.abs()
    unit_B1 = size_BK.masked_fill(size_BK == 0, torch.inf).amin(-1, keepdim=True)
    return (values_BK / unit_B1.where(unit_B1.isfinite(), 1.0)).round()


def _operations(
    student: GooseForCausalLM, meter: Meter, *, tokens: int
) -> Iterator[tuple[str, dict[str, float]]]:
    settings = student.config.to_dict()
    for slot in layout(settings):
        if isinstance(slot, MatrixSlot) and slot.name not in (EMBEDDING, "positions"):
            found = meter.inputs.get(slot.name)
            yield slot.part, _product(slot, found, tokens=tokens)
    additions, multiplications = recurrence(settings)
    yield "recurrence", {"fp32_add": float(additions), "fp32_mult": float(multiplications)}
    each = meter.membranes / tokens
    yield "neurons", {kind: count * each for kind, count in MEMBRANE.items()}


def _product(slot: MatrixSlot, found: Events | None, *, tokens: int) -> dict[str, float]:
    """Of one matrix per token of the text, over all its inner steps."""
    weights = float(slot.rows * slot.columns)
    if found is None:
        return {"fp32_add": weights, "fp32_mult": weights}
    if found.whole:
        return {"fp32_add": slot.rows * found.events / tokens}
    runs = found.tokens / tokens
    return {"fp32_add": weights * runs, "fp32_mult": weights * runs}
