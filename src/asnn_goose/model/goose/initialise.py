"""A student that learns from scratch: the start that is published with its mixer.

Released code counts, not the tables of papers; mixers and MLPs start themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import nn

from asnn_goose.model.goose.block import GooseBlock
from asnn_goose.model.goose.feedback import Feedback
from asnn_goose.model.parts.config import StudentSettings


class Body(Protocol):
    """A student, as far as it is started here."""

    embedding: nn.Embedding
    lm_head: nn.Linear
    blocks: Sequence[GooseBlock]

    @property
    def config(self) -> StudentSettings:
        """Its settings."""

    @property
    def positions(self) -> nn.Embedding | None:
        """Learned positions, where it has them."""

    @property
    def feedback(self) -> Feedback | None:
        """What comes back from the last block, where it has that."""

    def modules(self) -> Iterator[nn.Module]:
        """Every module of it."""


@torch.no_grad()
def initialise(model: Body) -> None:
    """Set every parameter as the code released with the mixer does."""
    # All matrices come before all vectors: a seed gives the same student as it always did.
    initialise_matrices(model)
    initialise_vectors(model)


@torch.no_grad()
def initialise_matrices(model: Body) -> None:
    """Embedding, head and the large matrices of every block."""
    config = model.config
    # The published gain of a head with more words than channels.
    gain = 0.5 * max(1.0, config.vocab_size / config.hidden_size) ** 0.5
    nn.init.orthogonal_(model.lm_head.weight, gain=gain)
    model.blocks[0].mixer.start_embedding(model.embedding.weight)
    if model.positions is not None:
        nn.init.uniform_(model.positions.weight, -1e-4, 1e-4)
    for block in model.blocks:
        block.mixer.start_matrices()
        block.mlp.start_matrices()


@torch.no_grad()
def initialise_vectors(model: Body) -> None:
    """Everything else: norms, biases, low-rank adapters, decays, token shifts."""
    layers = model.config.num_hidden_layers
    for module in model.modules():
        # PyTorch's own values, set again: a student built on the meta device holds nothing yet.
        if isinstance(module, nn.RMSNorm | nn.LayerNorm):
            nn.init.ones_(module.weight)
        if isinstance(module, nn.Linear | nn.LayerNorm) and module.bias is not None:
            nn.init.zeros_(module.bias)
    if model.feedback is not None:
        model.feedback.start()
    for layer, block in enumerate(model.blocks):
        block.mixer.start_vectors(layer=layer, layers=layers)
        block.mlp.start_vectors(layer=layer, layers=layers)
