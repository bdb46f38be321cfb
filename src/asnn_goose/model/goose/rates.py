"""A student at equilibrium: its spikes counted over many steps, its gradients from a formula.

Bal and Sengupta, SpikingBERT (AAAI 2024), arXiv 2308.10873. Integrate-and-fire neurons without a
leak (soft reset, membranes at rest before the first step) see a constant input; their average rate
a goes to a* = clamp(current / v_th). The rates are counted without a graph, and stand in the place
of a* in a graph that is the chain of the a*: memory does not grow with the steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from asnn_goose.model.goose.block import GooseBlock
from asnn_goose.model.goose.causal_lm import GooseForCausalLM
from asnn_goose.model.neurons import Neuron
from asnn_goose.model.neurons.spikingbert import SpikingBERT
from asnn_goose.model.parts.membranes import Membranes
from asnn_goose.model.parts.window import placed
from asnn_goose.ops.implicit import replaced
from asnn_goose.trace import Trace, Window

GIVES = frozenset({"vocab", "hidden"})
"""What a pass at equilibrium can hold, of trace.PLACES."""


class ClosedForm(Membranes):
    """Every neuron gives v_th a*, differentiable."""

    asks_all: ClassVar = True

    def spikes(self, place: str, neuron: Neuron | None, h_BTK: Tensor) -> Tensor:
        """v_th clamp(h / v_th)."""
        if neuron is None:
            return h_BTK
        settling = _settling(neuron)
        return (settling.closed_form(h_BTK) * settling.range_of(h_BTK)).to(h_BTK.dtype)


class Counted(Membranes):
    """Every neuron gives v_th times its rate over some steps of a constant input."""

    asks_all: ClassVar = True

    def __init__(self, window: Window, *, steps: int) -> None:
        super().__init__(window)
        self._steps = steps

    def spikes(self, place: str, neuron: Neuron | None, h_BTK: Tensor) -> Tensor:
        """Spikes counted by a loop, of which only membranes and counts are there at a time."""
        if neuron is None:
            return h_BTK
        step, total_BTK = Step(self.window), torch.zeros_like(h_BTK)
        for _ in range(self._steps):
            total_BTK += step.spikes(place, neuron, h_BTK)
        return total_BTK / self._steps


class Step(Membranes):
    """One step of time: every neuron adds its input to its membrane, and gives v_th where it fires.

    The same object is used for all steps, so that membranes stay; a neuron of a later layer sees
    the spikes of the same step. A signed neuron has a threshold below rest too (ours).
    """

    asks_all: ClassVar = True

    def __init__(self, window: Window) -> None:
        super().__init__(window)
        self._v: dict[str, Tensor] = {}

    def spikes(self, place: str, neuron: Neuron | None, h_BTK: Tensor) -> Tensor:
        """v_th, 0 or, signed, -v_th."""
        if neuron is None:
            return h_BTK
        settling = _settling(neuron)
        range_1 = settling.range_of(h_BTK)
        drive_BTK = h_BTK.to(range_1.dtype) / range_1
        v_BTK = self._v.get(place, torch.zeros_like(drive_BTK)) + drive_BTK
        fired_BTK = (v_BTK >= 1).to(v_BTK.dtype)
        if settling.signed:
            fired_BTK -= (v_BTK <= -1).to(v_BTK.dtype)
        self._v[place] = v_BTK - fired_BTK
        return (fired_BTK * range_1).to(h_BTK.dtype)


def trace_at_equilibrium(
    student: GooseForCausalLM,
    tokens_BT: Tensor,
    needs: frozenset[str],
    *,
    window: Window,
    steps: int,
) -> tuple[Trace, float]:
    """What a pass leaves behind, counted over `steps`, and how far counts are from the formula.

    Values are counted, gradients are those of the a*. The distance is that of the last hidden
    states, relative. Raises ValueError for needs beyond GIVES and for neurons of another kind.
    """
    if beyond := sorted(needs - GIVES):
        raise ValueError(f"needs {beyond}: at equilibrium there is {', '.join(sorted(GIVES))}")
    if student.head_neuron is not None:
        raise ValueError("precision.head: at equilibrium the head reads no spikes; leave it out")
    star_BTD = student.embedding(tokens_BT)
    window = placed(window, star_BTD)
    star_BTD = student._embed(star_BTD, window.position_BT)
    if student.feedback is not None:
        # Rates are counted around the equilibrium of the formula: what feeds back is that.
        star_BTD = student.feedback(star_BTD, partial(_chain, student.blocks, window=window))
    x_BTD, carries = star_BTD.detach(), _Carries()
    hidden = [star_BTD]
    for block in student.blocks:
        star_BTD, carries.star = _closed(block, star_BTD, carries.star, window)
        x_BTD, carries.counted = _counted(block, x_BTD, carries.counted, window, steps)
        hidden = [*hidden, replaced(star_BTD, x_BTD)] if "hidden" in needs else []
    gap = float((x_BTD - star_BTD.detach()).norm() / star_BTD.detach().norm())
    fields: dict[str, Any] = {"hidden": tuple(hidden)} if "hidden" in needs else {}
    if "vocab" in needs:
        with torch.no_grad():
            final_BTD = student.final_norm(x_BTD)
        fields["final_BTD"] = replaced(student.final_norm(star_BTD), final_BTD)
        fields |= {"head_VD": student._head_VD(), "final_norm": student.final_norm}
        fields["logit_cap"] = student.config.logit_cap
    return replace(student.outline, window=window, **fields), gap


class _Carries:
    """What mixers hand on to the mixers of the next block, in both passes."""

    star: Tensor | None = None
    counted: Tensor | None = None


def _chain(blocks: Sequence[GooseBlock], x_BTD: Tensor, *, window: Window) -> Tensor:
    """The residual stream of the formula behind all blocks."""
    carry: Tensor | None = None
    for block in blocks:
        x_BTD, carry = _closed(block, x_BTD, carry, window)
    return x_BTD


def _closed(
    block: GooseBlock, x_BTD: Tensor, carry: Tensor | None, window: Window
) -> tuple[Tensor, Tensor | None]:
    formula = ClosedForm(window)
    mixed = block.mixer(block.mixer_norm(x_BTD), carry, None, window, formula)
    mixed_BTD, mlp_in_BTD = _between(block, x_BTD, mixed.out_BTD)
    out_BTD = block.mlp(mlp_in_BTD, None, window, formula).out_BTD
    return mixed_BTD + block.mlp_after(out_BTD), mixed.carry


@torch.no_grad()
def _counted(
    block: GooseBlock, x_BTD: Tensor, carry: Tensor | None, window: Window, steps: int
) -> tuple[Tensor, Tensor | None]:
    """The recurrence sees rates, once per token; the MLP sees every spike of every step."""
    counting = Counted(window, steps=steps)
    mixed = block.mixer(block.mixer_norm(x_BTD), carry, None, window, counting)
    mixed_BTD, mlp_in_BTD = _between(block, x_BTD, mixed.out_BTD)
    total_BTD, step = torch.zeros_like(x_BTD), Step(window)
    for _ in range(steps):
        total_BTD += block.mlp(mlp_in_BTD, None, window, step).out_BTD
    return mixed_BTD + block.mlp_after(total_BTD / steps), mixed.carry


def _between(block: GooseBlock, x_BTD: Tensor, mixer_out_BTD: Tensor) -> tuple[Tensor, Tensor]:
    """The residual stream behind the mixer, and what the MLP reads."""
    mixed_BTD = x_BTD + block.mixer_after(mixer_out_BTD)
    mlp_in_BTD: Tensor = block.mlp_norm(x_BTD if block.parallel else mixed_BTD)
    return mixed_BTD, mlp_in_BTD


def _settling(neuron: Neuron) -> SpikingBERT:
    if not isinstance(neuron, SpikingBERT):
        raise ValueError(
            f"neuron {type(neuron).__name__}: at equilibrium neurons are spikingbert, whose rates "
            "settle; name it in the stage's precision"
        )
    return neuron
