"""The norms of the residual stream."""

from __future__ import annotations

from torch import nn

NORMS: dict[str, type[nn.RMSNorm] | type[nn.LayerNorm]] = {"rms": nn.RMSNorm, "layer": nn.LayerNorm}


def make_norm(kind: str, width: int, *, eps: float) -> nn.RMSNorm | nn.LayerNorm:
    """The norm of that name over `width` channels."""
    return NORMS[kind](width, eps=eps)
