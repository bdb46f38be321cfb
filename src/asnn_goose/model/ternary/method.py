"""What every ternary method offers to the projection that uses it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from asnn_goose.ops.precision_schedule import checked_share
from asnn_goose.ops.spike_product import Codes
from asnn_goose.ops.ternary import Ternary, check_granularity


class TernaryMethod(nn.Module, ABC):
    """From a dense latent matrix to the ternary one that multiplies, with a gradient.

    rows, columns  shape (O,K) of the matrix
    planes         ternary planes that the matrix is a sum of; `planes_known` lists what fits
    group          columns that share a scale, 0: a whole row; only where `groups_known`
    `share` is how much of the training at this precision is done, 1.0 before any; it is not saved.
    Statistics are taken in fp32 at least. Raises ValueError for settings the method lacks.
    """

    planes_known: ClassVar[tuple[int, ...]] = (1,)
    groups_known: ClassVar[bool] = False

    def __init__(self, rows: int, columns: int, *, planes: int = 1, group: int = 0) -> None:
        super().__init__()
        if planes not in self.planes_known:
            known = " or ".join(map(str, self.planes_known))
            raise ValueError(f"planes = {planes}: must be {known} for {type(self).__name__}")
        if group and not self.groups_known:
            raise ValueError(f"group = {group}: must be 0 for {type(self).__name__}")
        if group < 0 or (group and columns % group):
            raise ValueError(f"group = {group}: must divide the {columns} columns")
        self.rows, self.columns, self.planes, self.group = rows, columns, planes, group
        # Done, until a stage tells otherwise: what is loaded to be measured is the finished matrix.
        self.share = 1.0

    def anneal(self, share: float) -> None:
        """Hear, before a training forward, what share of it is done (0 to 1)."""
        self.share = checked_share(share)

    def start_(self, weight_OK: Tensor) -> None:
        """Set the method's own parameters from the latent weights."""

    @abstractmethod
    def forward(self, weight_OK: Tensor) -> Tensor:
        """(O,K) -> the matrix (O,K) to multiply by, same dtype; in eval mode the finished one."""

    def codes(self, weight_OK: Tensor) -> Codes | None:
        """The matrix in compiled form, where it is one of codes with a straight-through gradient.

        None where it is not, or no compiled kernel takes it.
        """
        return None

    def bias(self, weight_OK: Tensor) -> Tensor | None:
        """What is added to the output, (O,) in the dtype of the weights; None: nothing."""
        return None

    @abstractmethod
    def planes_of(self, weight_OK: Tensor) -> Ternary:
        """Codes and scales of the finished matrix, in fp32 at least, without a gradient."""


def wide(x: Tensor, like: Tensor | None = None) -> Tensor:
    """The tensor in fp32, or in float64 where that is its dtype or the one of `like`."""
    return x.to(torch.promote_types((x if like is None else like).dtype, torch.float32))


def rounded(method: TernaryMethod, weight_OK: Tensor) -> Tensor:
    """The finished matrix with a straight-through gradient, by the compiled kernel if it can."""

    def make(latent_OK: Tensor) -> Tensor:
        codes = method.codes(latent_OK)
        return method.planes_of(latent_OK).dense() if codes is None else codes.dense()

    return straight_through(weight_OK, make)


def straight_through(weight_OK: Tensor, make: Callable[[Tensor], Tensor]) -> Tensor:
    """Value make(W) in W's dtype; the gradient goes to W unchanged (arXiv 1308.3432)."""
    return cast(Tensor, _StraightThrough.apply(weight_OK, make))  # type: ignore[no-untyped-call]


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight_OK: Tensor, make: Callable[[Tensor], Tensor]) -> Tensor:
        # Detached, so that what `make` does on its way keeps no graph.
        return make(weight_OK.detach()).to(weight_OK.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def learned_scale(rows: int, granularity: str) -> nn.Parameter:
    """Ones, (O,1) with granularity "row" or (1,1) with "tensor", until `start_` sets them."""
    check_granularity(granularity)
    return nn.Parameter(torch.ones(rows if granularity == "row" else 1, 1))


def with_row_scales(codes_POK: Tensor, *scales_R1: Tensor) -> Ternary:
    """Planes with one scale each per row or for all rows, as planes with row scales (P,1,O)."""
    rows = codes_POK.shape[1]
    scale_PO1 = torch.stack([scale_R1.detach().expand(rows, 1) for scale_R1 in scales_R1])
    return Ternary(codes_POK, scale_PO1.transpose(1, 2).to(codes_POK.dtype).contiguous())
