"""Where the inside of a teacher's block is to be seen, and how it is read."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

from asnn_goose.model.capture import Keep, first
from asnn_goose.model.families import Family, first_of
from asnn_goose.model.rows import Heads, Rows


def block_sites(
    block: nn.Module, family: Family, heads: Heads, *, residual: float
) -> dict[str, tuple[nn.Module, Keep]]:
    """Modules of a block whose outputs a Trace keeps, and what is kept of them.

    residual  factor by which the block adds what attention and MLP give
    """
    attention: nn.Module = getattr(block, family.attention)
    mlp: nn.Module = block.get_submodule("mlp")

    def added(output: Any) -> Tensor:
        return first(output) if residual == 1 else first(output) * residual

    sites: dict[str, tuple[nn.Module, Keep]] = {
        "hidden": (block, first),
        "mixer_out": (attention, added),
        # Falcon adds to what its MLP gives in place.
        "mlp_out": (mlp, lambda output: added(output).clone()),
    }
    if (norm_before := first_of(block, family.mixer_norm)) is not None:
        sites["mixer_in"] = (norm_before, first)
    for name, rows, norm in (
        ("queries", family.queries, family.query_norm),
        ("keys", family.keys, family.key_norm),
        ("values", family.values, ""),
    ):
        module = getattr(attention, norm or rows.module)
        heads_first = bool(norm) and family.heads_first
        keep = _kept_by_head(Rows(norm) if norm else rows, heads, heads_first=heads_first)
        sites[name] = (module, keep)
    usual = heads.size**-0.5
    own = attention_scaling(attention, usual)
    if not math.isclose(own, usual):  # as GPT-2 may have it
        module, keep_keys = sites["keys"]
        sites["keys"] = (module, lambda output: keep_keys(output) * (own / usual))
    return sites


def by_head(found: Any, *, size: int) -> Tensor:
    """What a module takes or gives, (B,T,C) or heads apart already, as (B,T,H,N)."""
    x: Tensor = first(found)
    return x.reshape(*x.shape[:2], -1, size)


def attention_scaling(attention: nn.Module, usual: float) -> float:
    """By what an attention multiplies its scores, where it says so; else the usual 1/sqrt(N)."""
    own: Any = getattr(attention, "scaling", usual)
    return float(own)


def _kept_by_head(rows: Rows, heads: Heads, *, heads_first: bool) -> Keep:
    """From a projection's output to (B,T,H,N), key-value heads repeated."""

    def keep(output: Any) -> Tensor:
        part = rows.of(output.transpose(1, 2) if heads_first else output, heads, dim=-1)
        x_BTHN = by_head(part, size=heads.size)
        return x_BTHN.repeat_interleave(heads.queries // x_BTHN.shape[2], dim=2)

    return keep
