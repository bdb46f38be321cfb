"""Read, draw, read what was drawn: the one loop behind generating, chatting and measuring."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asnn_goose.infer.sampler import Drawer

F32 = NDArray[np.float32]
Tokens = list[int]


def draw(
    read: Callable[[Tokens], F32],
    prompt: Sequence[int],
    *,
    drawer: Drawer,
    limit: int,
    ends: Collection[int] = (),
) -> Iterator[int]:
    """Up to `limit` tokens that continue `prompt`, until one is in `ends` (not yielded).

    read  reads tokens, at least one; gives logits (V,) of what comes next

    The last token is not read: whoever goes on may not want to.
    """
    rows = draw_each(lambda unread: [read(unread[0])], [prompt], drawers=[drawer])
    for (token,) in islice(rows, limit):
        if token in ends:
            return
        yield token


def draw_each(
    read: Callable[[list[Tokens]], Sequence[F32] | NDArray[Any]],
    prompts: Sequence[Sequence[int]],
    *,
    drawers: Sequence[Drawer],
) -> Iterator[Tokens]:
    """A token for each of some sequences, again and again without end; `read` reads them all."""
    unread = [list(prompt) for prompt in prompts]
    while True:
        for drawer, ids in zip(drawers, unread, strict=True):
            # Before the draw: penalties count the prompt's words too.
            drawer.see(ids)
        tokens = [drawer.draw(row) for drawer, row in zip(drawers, read(unread), strict=True)]
        yield tokens
        unread = [[token] for token in tokens]
