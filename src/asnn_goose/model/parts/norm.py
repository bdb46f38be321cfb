"""The norms of the residual stream."""

from __future__ import annotations

from torch import nn

NORMS: dict[str, type[nn.Module]] = {
    "rms": nn.RMSNorm,
    "layer": nn.LayerNorm,
    "none": nn.Identity,
}


def make_norm(kind: str, width: int, *, eps: float) -> nn.Module:
    """The norm of that name over `width` channels."""
    return NORMS[kind](width, eps=eps)
