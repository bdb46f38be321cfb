from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from asnn_goose.trace import IGNORED_LABEL, Batch, Trace

BATCH, TOKENS, WIDTH, VOCABULARY, LAYERS = 2, 11, 8, 23, 3


@pytest.fixture(scope="session")
def passing() -> Callable[[int], Trace]:
    """Make what a forward pass would leave behind, from a seed; its tensors are leaves."""

    def make(seed: int) -> Trace:
        generator = torch.Generator().manual_seed(seed)

        def draw(*shape: int) -> torch.Tensor:
            return torch.randn(shape, generator=generator).requires_grad_()

        def small(change: Callable[[torch.Tensor], torch.Tensor]) -> tuple[torch.Tensor, ...]:
            with torch.no_grad():
                found = [change(draw(BATCH, TOKENS, 2, 4)) for _ in range(LAYERS)]
            return tuple(x_BTHN.requires_grad_() for x_BTHN in found)

        wide = [
            tuple(draw(BATCH, TOKENS, WIDTH) for _ in range(n))
            for n in (LAYERS + 1, LAYERS, LAYERS, LAYERS)
        ]
        heads = [tuple(draw(BATCH, TOKENS, 2, 4) for _ in range(LAYERS)) for _ in range(4)]
        return Trace(
            final_BTD=draw(BATCH, TOKENS, WIDTH),
            head_VD=draw(VOCABULARY, WIDTH),
            hidden=wide[0],
            mixer_in=wide[1],
            mixer_out=wide[2],
            mlp_out=wide[3],
            signals={
                "queries": heads[0],
                "keys": heads[1],
                "values": heads[2],
                "head_outputs": heads[3],
                "log_decay": small(lambda x_BTHN: -0.6 * x_BTHN.sigmoid()),
                "removal": small(lambda x_BTHN: F.normalize(x_BTHN, dim=-1)),
                "rate": small(torch.sigmoid),
                "written": small(torch.clone),
            },
            width=WIDTH,
            head_size=4,
            final_norm=lambda x_BTD: F.layer_norm(x_BTD, (WIDTH,)),
            embedding_VD=draw(VOCABULARY, WIDTH),
        )

    return make


@pytest.fixture
def batch() -> Batch:
    """Tokens with a few positions that do not count."""
    generator = torch.Generator().manual_seed(5)
    tokens_BT = torch.randint(0, VOCABULARY, (BATCH, TOKENS + 1), generator=generator)
    labels_BT = tokens_BT[:, 1:].clone()
    labels_BT[0, 3], labels_BT[1, 8:] = IGNORED_LABEL, IGNORED_LABEL
    return Batch(
        tokens_BT=tokens_BT[:, :-1],
        labels_BT=labels_BT,
        documents_BT=torch.zeros_like(labels_BT),
        progress=0.5,
    )


@pytest.fixture(scope="session")
def saying() -> Callable[..., Trace]:
    """The same pass with other signals."""

    def change(trace: Trace, **signals: tuple[torch.Tensor, ...]) -> Trace:
        return dataclasses.replace(trace, signals={**trace.signals, **signals})

    return change
