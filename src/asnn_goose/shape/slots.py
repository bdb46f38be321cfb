"""The parts of a model that have a name: matrices, vectors, spike sites, and recurrent state."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

EMBEDDING, POSITIONS, HEAD = "embedding", "positions", "lm_head"

COLUMNS = 1 << 16
"""Most columns of a matrix: what an entry of the engine's lists of spikes can name."""

Part = Literal["embedding", "head", "mixer", "low-rank", "mlp"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixSlot:
    """A matrix (rows, columns) that may come in several forms.

    part        which share of a model's bytes and work it belongs to
    precision   name under which the setting `precision` makes it ternary and its input spikes;
                empty for what always stays dense: low-rank factors and embeddings
    bias        whether `NAME.bias` goes with it in any form
    optional    may be left out whole: the head where the embedding serves
    """

    name: str
    rows: int
    columns: int
    part: Part
    precision: str = ""
    bias: bool = False
    optional: bool = False

    @property
    def projection(self) -> bool:
        """May be ternary, with spikes and rotation."""
        return bool(self.precision)


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorSlot:
    """An F32 tensor of a given shape."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteSlot:
    """A vector of so many columns that may become spikes with no matrix behind it.

    `precision` is its name in the setting of that name.
    """

    name: str
    columns: int
    precision: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSlot:
    """An fp32 array that a sequence carries from token to token in every block."""

    name: str
    shape: tuple[int, ...]


Slot = MatrixSlot | VectorSlot | SiteSlot


def projection(
    part: Part, name: str, rows: int, columns: int, *, bias: bool, precision: str = ""
) -> MatrixSlot:
    """A large matrix, which `precision` knows by its own name unless another is given."""
    return MatrixSlot(
        name=name, rows=rows, columns=columns, part=part, precision=precision or name, bias=bias
    )


def low_rank(name: str, width: int, rank: int, out: int, *, bias: bool = True) -> Iterator[Slot]:
    """The two factors that lead from `width` to `out` through `rank`."""
    yield MatrixSlot(name=f"{name}.down", rows=rank, columns=width, part="low-rank")
    yield MatrixSlot(name=f"{name}.up", rows=out, columns=rank, part="low-rank")
    if bias:
        yield VectorSlot(name=f"{name}.bias", shape=(out,))
