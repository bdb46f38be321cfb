"""The recurrent state as the cache object that Transformers' `generate` hands around."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import Cache
from transformers.modeling_outputs import CausalLMOutputWithPast

from asnn_goose.model.parts.state import BlockState, State, applied

# Looked up once: whoever reads a result must use the name of the installed version.
CACHE_FIELD = "cache" if hasattr(CausalLMOutputWithPast(), "cache") else "past_key_values"
"""What Transformers calls a cache in calls and results: the first from 5.24 on."""


class GooseCache(Cache):
    """State of a batch of sequences; its size does not depend on how many tokens were seen.

    blocks       one BlockState per block, or empty before the first token
    head         state of the neuron before the head, empty where it has none
    position_B   real tokens seen by each sequence (padding not counted)
    """

    def __init__(self) -> None:
        super().__init__(layers=[])
        self.blocks: tuple[BlockState, ...] = ()
        self.head: State = {}
        self.position_B: Tensor | None = None
        self._seen = 0

    def advance(
        self, blocks: tuple[BlockState, ...], head: State, position_B: Tensor, length: int
    ) -> None:
        """Store the state after `length` further positions (padding counted)."""
        self.blocks, self.head, self.position_B = blocks, head, position_B
        self._seen += length

    def fork(self) -> GooseCache:
        """A cache that goes on from here by itself.

        Nothing is copied: a state is replaced, never written in place.
        """
        other = GooseCache()
        if self.position_B is not None:
            other.advance(self.blocks, self.head, self.position_B, self._seen)
        return other

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Positions seen so far, padding counted; the same for every layer."""
        return self._seen

    def get_max_length(self, layer_idx: int | None = None) -> int:
        """-1: a recurrent state has no maximum length."""
        return -1

    @property
    def is_compileable(self) -> bool:
        """False: the state is replaced, not written in place."""
        return False

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Select the sequences `beam_idx` (beam search)."""
        self.batch_select_indices(beam_idx)

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep the given sequences, in the given order, repeats allowed."""

        def select(tensor: Tensor) -> Tensor:
            return tensor.index_select(0, indices.to(tensor.device))

        self.blocks = tuple(block.apply(select) for block in self.blocks)
        self.head = applied(self.head, select)
        if self.position_B is not None:
            self.position_B = select(self.position_B)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat every sequence `repeats` times."""
        if self.position_B is not None:
            count = self.position_B.shape[0]
            indices = torch.arange(count, device=self.position_B.device)
            self.batch_select_indices(indices.repeat_interleave(repeats))

    def reset(self) -> None:
        """Forget everything."""
        self.blocks, self.head, self.position_B, self._seen = (), {}, None, 0

    def crop(self, max_length: int) -> None:
        """Keep the first `max_length` positions, or all but the last ones where it is below 0.

        A recurrence cannot be rolled back: raises NotImplementedError for anything but all
        positions or none.
        """
        length = max_length if max_length >= 0 else self._seen + max_length
        if length >= self._seen:
            return
        if length > 0:
            raise NotImplementedError(
                "a recurrent state cannot be cropped: keep a fork() of the cache to return to"
            )
        self.reset()
