"""A closed-form start of the mixers' output projections."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from asnn_goose.model.goose.causal_lm import GooseForCausalLM
from asnn_goose.model.mixers.mixer import Mixer
from asnn_goose.model.parts.projection import Projection
from asnn_goose.model.starts.total import Total, own
from asnn_goose.trace import Trace

AROUND_MIXERS = frozenset({"mixer_in", "mixer_out"})
"""What a teacher must leave behind: what its attention sees and gives."""

# Without a pull the fit to some thousand tokens invents large weights along directions that hardly
# occur in them.
DAMPING = 0.01
"""Pull towards the weights there are, in units of the mean square of an input channel."""


@torch.no_grad()
def fit_outputs(student: GooseForCausalLM, teacher: Iterable[Trace], total: Total = own) -> int:
    """Fit every mixer's output projection to the teacher's attention; returns how many.

    Every mixer runs on the teacher's own input, and W minimises |x W^T + b - y|^2 over all tokens,
    plus DAMPING times |W - W_before|^2: x what the projection multiplies, y what the teacher's
    attention gives. `total` gives the sum over all processes. Raises ValueError for a projection
    with ternary weights.
    """
    outputs = [_output(layer, block.mixer) for layer, block in enumerate(student.blocks)]
    sums = [_Sums(output) for output in outputs]
    for trace in teacher:
        hooks = [one.listen() for one in sums]
        try:
            student.drive(trace.mixer_in, window=trace.window)
        finally:
            for hook in hooks:
                hook.remove()
        for one, wanted_BTD in zip(sums, trace.mixer_out, strict=True):
            one.add(wanted_BTD)
    for one in sums:
        one.inputs_KK, one.wanted_OK = total(one.inputs_KK), total(one.wanted_OK)
        one.solve()
    return len(sums)


def _output(layer: int, mixer: Mixer) -> Projection:
    *_, matrix = mixer.matrices().values()
    if matrix.ternary is not None:
        raise ValueError(f"least_squares: the output projection of block {layer} is ternary")
    return matrix


class _Sums:
    """Second moments of one projection's inputs, with themselves and with what is wanted."""

    def __init__(self, matrix: Projection) -> None:
        self.matrix = matrix
        columns, rows = matrix.in_features, matrix.out_features
        # In float64: sums of squares over all tokens, whose condition is that of the inputs
        # squared.
        self.inputs_KK = torch.zeros(columns, columns, dtype=torch.float64)
        self.wanted_OK = torch.zeros(rows, columns, dtype=torch.float64)
        self._seen_RK = torch.zeros(0, columns)

    def listen(self) -> torch.utils.hooks.RemovableHandle:
        """Keep the next input."""

        def keep(matrix: Projection, inputs: tuple[Any, ...]) -> None:
            self._seen_RK = matrix.coded(*inputs).flatten(0, -2)

        return self.matrix.register_forward_pre_hook(keep)

    def add(self, wanted_BTD: Tensor) -> None:
        """Count the tokens that were seen last, with what they should have given."""
        seen_RK, wanted_RO = self._seen_RK.double().cpu(), wanted_BTD.flatten(0, -2).double().cpu()
        # The bias is kept: it is the teacher's, and fits already.
        if self.matrix.bias is not None:
            wanted_RO = wanted_RO - self.matrix.bias.double().cpu()
        self.inputs_KK += seen_RK.T @ seen_RK
        self.wanted_OK += wanted_RO.T @ seen_RK

    def solve(self) -> None:
        """Put the best weights in."""
        pull = DAMPING * float(self.inputs_KK.diagonal().mean())
        before_OK = self.matrix.weight.double().cpu()
        damped_KK = self.inputs_KK + pull * torch.eye(len(self.inputs_KK), dtype=torch.float64)
        found_KO = torch.linalg.solve(damped_KK, (self.wanted_OK + pull * before_OK).T)
        self.matrix.weight.copy_(found_KO.T)
