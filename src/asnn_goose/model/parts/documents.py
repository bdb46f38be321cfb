"""Packed windows in which no document sees another: what teacher and token shift need for it."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from asnn_goose.ops.documents import document_starts, same_document


def document_positions(documents_BT: Tensor) -> Tensor:
    """Position (B,T) of every token, counted from 0 at the start of its document in the window."""
    place_T = torch.arange(documents_BT.shape[1], device=documents_BT.device)
    # A running maximum carries the place of the last start along, without a loop over the
    # documents.
    starts_BT = place_T.where(document_starts(documents_BT), 0).cummax(dim=1).values
    return place_T - starts_BT


def arguments_apart(
    documents_BT: Tensor | None, config: Any, *, dtype: torch.dtype
) -> dict[str, Any]:
    """Arguments of a transformer that keep documents apart, positions and mask; none for None.

    The mask is one for all layers, or one by kind of layer where the model mixes them.
    """
    if documents_BT is None:
        return {}
    mask = partial(document_mask, documents_BT, dtype=dtype)
    reach: int | None = getattr(config, "sliding_window", None)
    masks: Any = mask(reach=reach)
    # Transformers wants a mask by kind where windows slide in some layers only.
    if getattr(config, "layer_types", None) is not None:
        masks = {"full_attention": mask(), "sliding_attention": masks}
    return {"attention_mask": masks, "position_ids": document_positions(documents_BT)}


def document_mask(
    documents_BT: Tensor, *, dtype: torch.dtype = torch.float32, reach: int | None = None
) -> Tensor:
    """Additive attention mask (B,1,T,T): 0 where a query may look, the lowest number elsewhere.

    A token sees itself and those before it in its own document, which makes attention over a
    packed window the same as over each document alone. `dtype` is that of the attention scores.
    Every row has an allowed key, so no softmax is empty. With `reach` a token sees no more than
    that many, itself counted: a sliding window.
    """
    allowed_BTT = same_document(documents_BT).tril()
    if reach is not None:
        allowed_BTT = allowed_BTT.triu(1 - reach)
    # A number and not -inf, as Transformers has it in its own masks: kernels differ in what they
    # make of infinity.
    lowest = torch.finfo(dtype).min
    mask_BTT = torch.zeros_like(allowed_BTT, dtype=dtype).masked_fill(~allowed_BTT, lowest)
    return mask_BTT.unsqueeze(1)
