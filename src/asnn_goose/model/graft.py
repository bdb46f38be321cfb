"""A teacher in which some attentions are a student's mixers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from asnn_goose.model.goose.causal_lm import GooseForCausalLM
from asnn_goose.model.parts.window import placed
from asnn_goose.model.teacher import Teacher
from asnn_goose.trace import Trace, Window

Mix = Callable[[Tensor], Tensor]
"""From what a block's attention reads to what it gives, both (B,T,D)."""


def graft_trace(
    teacher: Teacher,
    student: GooseForCausalLM,
    layers: Set[int],
    tokens_BT: Tensor,
    needs: frozenset[str],
    *,
    window: Window | None = None,
) -> Trace:
    """The teacher's pass over tokens (B,T) with the student's mixers in `layers`, for training.

    What lies behind a mixer is the teacher's own, and gradients run through it. The first block's
    mixer runs always, for what it hands to the others; a layer that is left out hands on what came.
    """
    carry: Tensor | None = None

    def mixing(layer: int) -> Mix:
        def mix(x_BTD: Tensor) -> Tensor:
            nonlocal carry
            x_BTD = x_BTD.to(student.dtype)  # a teacher may be held in bf16
            mixed = student.blocks[layer].mixed(x_BTD, carry, placed(window, x_BTD))
            carry = mixed.carry
            return mixed.out_BTD

        return mix

    with _grafted(teacher, {layer: mixing(layer) for layer in {0, *layers}}, silent={0} - layers):
        return teacher.trace_graph(tokens_BT, needs, window=window)


@contextmanager
def _grafted(teacher: Teacher, mixes: dict[int, Mix], *, silent: Set[int]) -> Iterator[None]:
    """Let attentions give what `mixes` make of their inputs; those in `silent` keep their own."""
    scale = 1 / teacher.scales.residual  # a student's output projection has the factor in it

    def hook_of(layer: int) -> Any:
        def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
            x_BTD = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
            out_BTD = mixes[layer](x_BTD).to(x_BTD.dtype)
            if layer in silent:
                return output
            out_BTD = out_BTD if scale == 1 else out_BTD * scale
            return (out_BTD, *output[1:]) if isinstance(output, tuple) else out_BTD

        return hook

    handles = [
        teacher.attention(layer).register_forward_hook(hook_of(layer), with_kwargs=True)
        for layer in sorted(mixes)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
