"""A calibrated start: ternary weights whose outputs, not whose numbers, are near the dense ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from asnn_goose.model.goose.causal_lm import GooseForCausalLM
from asnn_goose.model.parts.projection import Projection
from asnn_goose.model.starts.total import Total, own
from asnn_goose.ops.error_feedback import error_feedback, latent
from asnn_goose.trace import Trace

_See = Callable[[str, Projection, tuple[Any, ...]], None]


@torch.no_grad()
def calibrate(student: GooseForCausalLM, teacher: Iterable[Trace], total: Total = own) -> int:
    """Choose the codes and scales of every ternary matrix by error feedback; returns how many.

    teacher  traces with STREAM, such as those of the dense student that a rung starts from
    total    gives the sum over all processes
    Every block runs on the teacher's residual stream with its spikes on and its weights still
    dense, and each matrix is rounded for the second moments of its own coded inputs. The latent
    weights become the nearest that the student's own method rounds to those codes and scales.
    Raises ValueError where the method cannot: two planes, groups, or a threshold of its own.
    """
    matrices = dict(_ternary(student))
    for name, matrix in matrices.items():
        _check(name, matrix)
    for name, moment_KK in _second_moments(student, teacher, matrices, total).items():
        _start(name, matrices[name], moment_KK)
    return len(matrices)


def _ternary(student: GooseForCausalLM) -> Iterator[tuple[str, Projection]]:
    for name, module in student.named_modules():
        if isinstance(module, Projection) and module.ternary is not None:
            yield name, module


def _check(name: str, matrix: Projection) -> None:
    precision = matrix.precision
    if precision.planes > 1 or precision.group:
        raise ValueError(
            f"calibrate: {name} has planes = {precision.planes}, group = {precision.group}; it "
            "knows one plane with a scale per row"
        )


def _second_moments(
    student: GooseForCausalLM,
    teacher: Iterable[Trace],
    matrices: Mapping[str, Projection],
    total: Total,
) -> dict[str, Tensor]:
    """Mean of x x^T (K,K) over all tokens, for the coded input x of every matrix."""
    sums: dict[str, Tensor] = {}
    rows = 0

    def see(name: str, matrix: Projection, inputs: tuple[Any, ...]) -> None:
        coded_RK = matrix.coded(*inputs).flatten(0, -2).float()
        product_KK = coded_RK.T @ coded_RK
        sums[name] = sums[name].add_(product_KK) if name in sums else product_KK

    # Dense weights, coded inputs: a matrix is rounded for what it will really read, while errors of
    # matrices that are not rounded yet do not blur what is measured.
    with _dense(matrices), _watched(matrices, see):
        for trace in teacher:
            student.drive_blocks(trace.hidden, trace.mixer_out, window=trace.window)
            rows += trace.hidden[0].shape[:-1].numel()
    rows = int(total(torch.tensor(rows)))
    return {name: total(product_KK) / rows for name, product_KK in sums.items()}


@contextmanager
def _dense(matrices: Mapping[str, Projection]) -> Iterator[None]:
    """The matrices without their ternary methods."""
    methods = {name: matrix.ternary for name, matrix in matrices.items()}
    for matrix in matrices.values():
        matrix.ternary = None
    try:
        yield
    finally:
        for name, matrix in matrices.items():
            matrix.ternary = methods[name]


@contextmanager
def _watched(matrices: Mapping[str, Projection], see: _See) -> Iterator[None]:
    """`see` hears what every matrix is called with, before it is coded."""
    hooks = [
        matrix.register_forward_pre_hook(lambda m, x, name=name: see(name, m, x))
        for name, matrix in matrices.items()
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _start(name: str, matrix: Projection, moment_KK: Tensor) -> None:
    method = matrix.ternary
    assert method is not None
    found, _ = error_feedback(matrix.weight, moment_KK, planes=1, group=0)
    matrix.weight.copy_(latent(matrix.weight, found))
    method.start_(matrix.weight)
    # Asked of the method itself, not of a list of names here: a new method with another threshold
    # is refused as well.
    if not torch.equal(method.planes_of(matrix.weight).codes_POK, found.codes_POK):
        raise ValueError(
            f"calibrate: {type(method).__name__} of {name} has another threshold than half the "
            "mean; take absmean, tequila, arenas or terdit"
        )
