"""A student in plain numpy: the oracle that the compiled engine is tested against.

Reads the same packed model, one token after the other, every formula written out; fp32 where the
engine has fp32. Peng et al. 2025, arXiv 2503.14456, with the switches of a student's configuration.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asnn_goose.infer.reference.block import Block
from asnn_goose.infer.reference.layers import Norm, Tensors
from asnn_goose.infer.reference.matrix import Matrix
from asnn_goose.infer.reference.spikes import F32, Neurons
from asnn_goose.infer.reference.state import ReferenceState
from asnn_goose.shape.settings import fault, packed_settings

if TYPE_CHECKING:
    from asnn_goose.format.packed import PackedModel


def check_context(config: dict[str, Any], length: int) -> None:
    """Raise ValueError for more tokens than there are learned positions."""
    most = config["n_positions"]
    if most and length > most:
        raise ValueError(
            f"a context of {length} tokens: this student has learned positions for n_positions = "
            f"{most}, and can read no more than that at once"
        )


class Reference:
    """The model; offers what the compiled engine offers, with arrays instead of addresses.

    Raises ValueError for a setting that no packed model can have, as the engine does.
    """

    def __init__(self, model: PackedModel, *, bf16_states: bool = False) -> None:
        if (found := fault(model.config, packed=True)) is not None:
            raise ValueError(str(found))
        self.config: dict[str, Any] = packed_settings(model.config)
        self.bf16_states = bf16_states
        tensors: Tensors = model.tensors
        settings = model.matrices
        # A tied head is not written twice; it is there when any form of it is.
        own_head = any(f"lm_head.{part}" in tensors for part in ("weight", "planes"))
        self.embedding = Matrix("embedding", tensors)
        self.head = Matrix(
            "lm_head",
            tensors,
            settings.get("lm_head"),
            weights="lm_head" if own_head else "embedding",
        )
        self.embedding_norm = (
            Norm("embedding_norm", tensors, self.config) if self.config["embedding_norm"] else None
        )
        places = self.config["n_positions"]
        self.positions = Matrix("positions", tensors) if places else None
        self.final_norm = Norm("final_norm", tensors, self.config)
        layers = range(self.config["num_hidden_layers"])
        self.blocks = [Block(layer, self.config, tensors, settings) for layer in layers]

    def new_state(self) -> ReferenceState:
        """The state before the first token."""
        return ReferenceState(self.config)

    def forward(
        self,
        states: Sequence[ReferenceState],
        tokens: Sequence[NDArray[np.int32]],
        *,
        every: bool,
        missed: float = 0.0,
        temperature: float = 1.0,
        spikes: NDArray[np.uint32] | None = None,
    ) -> F32:
        """Advance every state over its tokens; logits of each token, or of each state's last.

        All logits are exact here, whatever `missed` allows. The spikes of each state are added to
        its row of `spikes`, in the order of `counts`.
        """
        del missed, temperature
        for state, ids_T in zip(states, tokens, strict=True):
            check_context(self.config, state.position + len(ids_T))
        rows: list[F32] = []
        for place, (state, ids_T) in enumerate(zip(states, tokens, strict=True)):
            # As a difference of totals, for spikes are counted where they fire, which knows no
            # sequence.
            before = self._came()
            for number, token in enumerate(ids_T, start=1):
                x_D = self._step(state, int(token))
                if every or number == len(ids_T):
                    rows.append(self._logits(x_D))
            if spikes is not None:
                spikes[place] += self._came() - before
        return np.stack(rows)

    def _logits(self, x_D: F32) -> F32:
        z_V, cap = self.head(self.final_norm(x_D)), np.float32(self.config["logit_cap"])
        return cap * np.tanh(z_V / cap) if cap else z_V

    def _came(self) -> NDArray[np.uint32]:
        return np.array([came for came, _ in self.counts().values()], np.uint32)

    def _step(self, state: ReferenceState, token: int) -> F32:
        """The residual stream after the last block; the state moves on by one token."""
        x_D, v_first_C = self.embedding.row(token), None
        if self.positions is not None:
            x_D = x_D + self.positions.row(state.position)
        if self.embedding_norm is not None:
            x_D = self.embedding_norm(x_D)
        for block in self.blocks:
            x_D, v_first_C = block(x_D, v_first_C, state)
        if self.bf16_states:
            state.round_memory()
        state.position += 1
        return x_D

    def counts(self) -> dict[str, tuple[int, int]]:
        """Spikes that came and that could have come, by matrix or site, since the last reset."""
        return {name: place.spikes for name, place in self._neurons().items() if place.steps}

    def reset_counts(self) -> None:
        """Count from zero."""
        for place in self._neurons().values():
            place.spikes = (0, 0)

    def _neurons(self) -> dict[str, Neurons]:
        named = {"lm_head": self.head.neurons}
        for block in self.blocks:
            named |= block.neurons()
        return named
