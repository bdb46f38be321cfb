"""Linear maps inside a teacher, also where one matrix holds several of them."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D


class Heads(NamedTuple):
    """Numbers of heads of queries, and of keys and values, and the channels of one."""

    queries: int
    keys: int
    size: int


class Rows(NamedTuple):
    """Output rows of the linear layer `module`: all, or the share `part` of what it fuses.

    `fused` says how they lie: "" for none others, "stacked" for queries, keys and values one after
    the other, "grouped" for the queries of each key head before that head's key and value, and
    "halves" for two equal shares.
    """

    module: str
    part: int = 0
    fused: str = ""

    def of(self, fused: Tensor, heads: Heads, *, dim: int) -> Tensor:
        """The rows themselves, along `dim` of a weight, a bias or an output."""
        if not self.fused:
            return fused
        if self.fused == "halves":
            half: Tensor = fused.chunk(2, dim)[self.part]
            return half
        queries, keys, size = heads
        if self.fused == "stacked":
            rows: Tensor = fused.split([queries * size, keys * size, keys * size], dim)[self.part]
            return rows
        groups = fused.unflatten(dim, (keys, queries // keys + 2, size))
        axis = dim if dim >= 0 else groups.dim() + dim - 2
        part: Tensor = groups.split([queries // keys, 1, 1], axis + 1)[self.part]
        return part.flatten(axis, axis + 2)


class Linear(NamedTuple):
    """A linear map as students keep it: weight (out, in) and bias (out,), or None."""

    weight_OK: Tensor
    bias_O: Tensor | None

    def times(self, factor: float) -> Linear:
        """The same map, what it gives multiplied."""
        if factor == 1:
            return self
        return Linear(
            self.weight_OK * factor, None if self.bias_O is None else self.bias_O * factor
        )


def linear(owner: nn.Module, rows: Rows, heads: Heads) -> Linear:
    """Weight and bias of some rows of a linear layer of `owner`.

    GPT-2's Conv1D keeps its weight as (in, out): it is turned around here.
    """
    module = getattr(owner, rows.module)
    weight_OK: Tensor = module.weight.T if isinstance(module, Conv1D) else module.weight
    bias_O: Tensor | None = module.bias
    if bias_O is not None:
        bias_O = rows.of(bias_O, heads, dim=0)
    return Linear(rows.of(weight_OK, heads, dim=0), bias_O)
