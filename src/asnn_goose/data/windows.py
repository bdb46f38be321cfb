"""Windows of a text for evaluation: every token but the first is scored exactly once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from asnn_goose.data.shards import Shard

if TYPE_CHECKING:
    from numpy.typing import NDArray


def eval_windows(
    shard_or_ids: Shard | NDArray[Any] | Tensor,
    *,
    window: int = 512,
    limit_tokens: int | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs and labels (both (1, T), int64) of windows that step over a text by `window`.

    Inputs are the tokens [i, i + window) and labels those one further, so that every token but
    the first of the text is a label exactly once; the last window may be shorter. A window knows
    nothing of the text before it. With `limit_tokens` at most that many tokens are scored, in
    whole windows spaced evenly over the text (windows are cut to it where it is below `window`).

    The windows depend on nothing but the arguments, so a teacher and a student that share a
    tokenizer are scored on identical ones. Raises ValueError for a window or limit below 1 and
    for a text of fewer than two tokens.
    """
    ids_N = shard_or_ids.tokens_N if isinstance(shard_or_ids, Shard) else shard_or_ids
    for setting, value in (("window", window), ("limit_tokens", limit_tokens)):
        if value is not None and value < 1:
            raise ValueError(f"{setting} is {value}, wanted at least 1")
    if ids_N.ndim != 1 or len(ids_N) < 2:
        raise ValueError(f"ids have shape {tuple(ids_N.shape)}, wanted (N,) with N at least 2")
    if limit_tokens is not None:
        window = min(window, limit_tokens)
    return _windows(ids_N, window, limit_tokens)


def _windows(
    ids_N: NDArray[Any] | Tensor, window: int, limit_tokens: int | None
) -> Iterator[tuple[Tensor, Tensor]]:
    scored = len(ids_N) - 1
    count = -(-scored // window)
    wanted = count if limit_tokens is None else min(count, limit_tokens // window)
    for number in range(wanted):
        # The middles of `wanted` equal parts of the text; all windows when wanted == count.
        start = (2 * number + 1) * count // (2 * wanted) * window
        ids_T = _int64(ids_N[start : start + window + 1])
        yield ids_T[None, :-1], ids_T[None, 1:]


def _int64(ids: NDArray[Any] | Tensor) -> Tensor:
    if isinstance(ids, Tensor):
        return ids.to(torch.int64)
    return torch.from_numpy(ids.astype(np.int64))
