"""The norms of the residual stream."""

from __future__ import annotations

from torch import Tensor, nn

from asnn_goose.ops.rms_norm import rms_norm


class RMSNorm(nn.RMSNorm):
    """PyTorch's, through a compiled kernel where there is one."""

    def __init__(self, width: int, *, eps: float) -> None:
        super().__init__(width, eps=eps)
        self.least = eps

    def forward(self, x_BD: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return rms_norm(x_BD, self.weight, eps=self.least)


NORMS: dict[str, type[nn.Module]] = {
    "rms": RMSNorm,
    "layer": nn.LayerNorm,
    "none": nn.Identity,
}


def norms_around(kind: str, width: int, *, eps: float, place: str) -> tuple[nn.Module, nn.Module]:
    """What half of a block has before and after it: norms "before", "after" or on "both" sides."""
    before, after = (
        make_norm(kind, width, eps=eps) if place in (side, "both") else nn.Identity()
        for side in ("before", "after")
    )
    return before, after


def make_norm(kind: str, width: int, *, eps: float) -> nn.Module:
    """The norm of that name over `width` channels."""
    return NORMS[kind](width, eps=eps)
