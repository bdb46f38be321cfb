"""A linear map whose weights may be ternary and whose input may be spikes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asnn_goose.model.parts.membranes import Membranes
from asnn_goose.model.parts.precision import Precision
from asnn_goose.model.parts.precision_table import PrecisionTable
from asnn_goose.model.parts.sub_norm import SubNorm
from asnn_goose.ops.hadamard import rotated
from asnn_goose.ops.spike_product import Coded, Codes, code, spike_product
from asnn_goose.trace import Window


class Projection(nn.Linear):
    """y = T(W) s(H n(x)) + bias, with T, s, H and n as `precision` says, or left out.

    Parameters are those of nn.Linear; `weight` stays dense and is what trains. With
    `precision.rotate` it lives in the rotated basis: W x = (W H)(H x). The default precision is
    a plain nn.Linear. `place` is its name in the tables of precision, under which a neuron's state
    is kept. Raises ValueError where the columns do not fit the precision.
    """

    def __init__(
        self, columns: int, rows: int, *, bias: bool, precision: Precision, place: str = ""
    ) -> None:
        precision.check_columns(columns)
        super().__init__(columns, rows, bias=bias)
        self.precision, self.place = precision, place
        self.sub_norm = SubNorm(columns) if precision.sub_norm else None
        self.neuron = precision.spikes(columns)
        self.ternary = precision.weights(rows, columns)
        self._held: list[Codes] | None = None

    def forward(self, x_BK: Tensor, membranes: Membranes | None = None) -> Tensor:
        """(..., K) -> (..., O); a neuron with state starts at rest where no membranes are given."""
        found = self._coded(x_BK, membranes or Membranes(Window()))
        values_BK = found.values_BK if isinstance(found, Coded) else found
        if self.ternary is None:
            return F.linear(values_BK, self.weight, self.bias)
        bias_O = self.whole_bias()
        codes = self._codes() if isinstance(found, Coded) and not self.ternary.group else None
        if codes is None or not isinstance(found, Coded):
            return F.linear(values_BK, self.ternary(self.weight), bias_O)
        y_BO = spike_product(found, self.weight, codes)
        return y_BO if bias_O is None else y_BO + bias_O

    def coded(self, x_BK: Tensor, membranes: Membranes | None = None) -> Tensor:
        """What the matrix multiplies by: the input behind its norm, basis and spikes."""
        found = self._coded(x_BK, membranes or Membranes(Window()))
        return found.values_BK if isinstance(found, Coded) else found

    def _coded(self, x_BK: Tensor, membranes: Membranes) -> Coded | Tensor:
        """The same, with its integers where a compiled kernel made them."""
        if self.sub_norm is not None:
            x_BK = self.sub_norm(x_BK)
        rotate, neuron = self.precision.rotate, self.neuron
        if neuron is None:
            return membranes.once(x_BK, "rotated", rotated) if rotate else x_BK
        coding = None if membranes.asks_all else neuron.coding(rotate=rotate)
        if coding is not None and coding.fits(x_BK):
            return membranes.once(x_BK, coding, partial(code, coding=coding))
        if rotate:
            x_BK = membranes.once(x_BK, "rotated", rotated)
        if coding is not None:
            spikes_BK: Tensor = membranes.once(x_BK, coding, neuron)
            return spikes_BK
        if self.training:
            # Only in training: what a neuron measures must come from training batches.
            neuron.meet_(x_BK, self.weight)
        return membranes.spikes(self.place, neuron, x_BK)

    def hold(self, held: bool) -> None:
        """Make codes of the weights once until told otherwise: they do not change meanwhile."""
        self._held = [] if held else None

    def _codes(self) -> Codes | None:
        if self._held:
            return self._held[0]
        codes = None if self.ternary is None else self.ternary.codes(self.weight)
        if self._held is not None and codes is not None:
            self._held.append(codes)
        return codes

    def whole_bias(self) -> Tensor | None:
        """The bias and what the ternary method adds to it."""
        extra_O = None if self.ternary is None else self.ternary.bias(self.weight)
        if self.bias is None or extra_O is None:
            return self.bias if extra_O is None else extra_O
        return self.bias + extra_O

    @torch.no_grad()
    def change(self, precision: Precision) -> None:
        """Take another precision, with the weights in its basis.

        Methods that stay the same keep their parameters, new ones start from the weights; a neuron
        whose input comes in another basis, or through another norm, measures it anew.
        """
        precision.check_columns(self.in_features)
        before, self.precision = self.precision, precision
        # The transform is its own inverse, so one line serves both ways.
        if before.rotate != precision.rotate:
            self.weight.copy_(rotated(self.weight))
        if before.sub_norm != precision.sub_norm:
            self.sub_norm = SubNorm(self.in_features) if precision.sub_norm else None
        if _spiking(before) != _spiking(precision):
            # What a neuron has measured holds for the input that it met: norm and basis count.
            self.neuron = precision.spikes(self.in_features)
        # After the basis: scales and zones are started from weights as they will be used.
        if _weighing(before) != _weighing(precision):
            self.ternary = precision.weights(self.out_features, self.in_features)
            if self.ternary is not None:
                self.ternary.start_(self.weight)
        self._settle()

    @torch.no_grad()
    def restart(self) -> None:
        """Let neuron and ternary method start anew, as weights and inputs have another scale."""
        self.neuron = self.precision.spikes(self.in_features)
        if self.ternary is not None:
            self.ternary.start_(self.weight)
        self._settle()

    def _settle(self) -> None:
        """Put new parts into the mode, and onto the device, of the whole."""
        self.train(self.training).to(self.weight.device)

    @torch.no_grad()
    def inherit(self, weight_OK: Tensor, bias_O: Tensor | None, *, scale: float = 1.0) -> None:
        """Copy weight and bias, times `scale`; a bias that is not given stays as it is.

        A matrix whose precision says `rotate` gets its weights in the rotated basis.
        """
        self.weight.copy_(weight_OK).mul_(scale)
        if self.bias is not None and bias_O is not None:
            self.bias.copy_(bias_O).mul_(scale)
        self.into_basis_()

    @torch.no_grad()
    def into_basis_(self) -> None:
        """Rewrite weights that were copied from a plain matrix for the basis of this one.

        The ternary method starts from them.
        """
        if self.precision.rotate:
            self.weight.copy_(rotated(self.weight))
        if self.ternary is not None:
            self.ternary.start_(self.weight)


def block_matrix(
    name: str,
    columns: int,
    rows: int,
    *,
    bias: bool,
    table: Mapping[str, Any] | None,
    layer: int,
) -> Projection:
    """The matrix `name` of block `layer`, with the precision that the table has for it."""
    precision = PrecisionTable(table).of(name, layer=layer)
    return Projection(columns, rows, bias=bias, precision=precision, place=name)


def _spiking(precision: Precision) -> tuple[object, ...]:
    """Everything that makes a neuron, and the input that it meets."""
    p = precision
    return (p.steps, p.steps and (p.neuron, p.code, p.threshold, p.rotate, p.sub_norm))


def _weighing(precision: Precision) -> tuple[object, ...]:
    """Everything that makes a ternary method."""
    p = precision
    return (p.planes, p.planes and (p.ternary, p.group))


@contextmanager
def held_codes(student: nn.Module, *, used: bool) -> Iterator[None]:
    """Within, a student's weights stay as they are, and ternary ones are coded once."""
    matrices = [m for m in student.modules() if isinstance(m, Projection)] if used else []
    for matrix in matrices:
        matrix.hold(True)
    try:
        yield
    finally:
        for matrix in matrices:
            matrix.hold(False)
