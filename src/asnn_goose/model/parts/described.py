"""Halves of a block whose matrices are made from their description in `shape/`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from torch import nn

from asnn_goose.model.parts.config import StudentSettings
from asnn_goose.model.parts.projection import Projection, block_matrix
from asnn_goose.shape.half import Half
from asnn_goose.shape.slots import MatrixSlot


class Described(nn.Module):
    """A mixer or MLP whose large matrices are attributes by the names of its description.

    shape  that description
    """

    shape: ClassVar[Half]

    def make_matrices(self, config: StudentSettings, *, layer: int) -> None:
        """Make all of them for block `layer`, with the precision that they have there."""
        # In the order of the description: a seed starts the same student as it always did, and
        # checkpoints find their parameters in the same order.
        for slot in self.slots(config, layer=layer):
            self.make_matrix(slot, config, layer=layer)

    @classmethod
    def slots(cls, config: StudentSettings, *, layer: int) -> Iterator[MatrixSlot]:
        """What is described of them."""
        for slot in cls.shape.slots(vars(config), layer):
            if isinstance(slot, MatrixSlot) and slot.projection:
                yield slot

    def make_matrix(self, slot: MatrixSlot, config: StudentSettings, *, layer: int) -> None:
        """Make one of them."""
        place, table = slot.precision, config.precision
        matrix = block_matrix(
            place, slot.columns, slot.rows, bias=slot.bias, table=table, layer=layer
        )
        self.add_module(slot.name, matrix)

    @classmethod
    def columns(cls, config: StudentSettings) -> dict[str, int]:
        """Columns of every matrix, by the names that `precision` uses; the order is that below."""
        return cls.shape.columns(vars(config))

    def matrices(self) -> dict[str, Projection]:
        """Its matrices by those names; the last one writes to the residual stream."""
        return {m.place: m for m in self.children() if isinstance(m, Projection)}
