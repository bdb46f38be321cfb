"""The norms of the residual stream."""

from __future__ import annotations

from torch import nn

NORMS: dict[str, type[nn.Module]] = {
    "rms": nn.RMSNorm,
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
