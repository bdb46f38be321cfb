"""Spiking attention made causal (after SpikeBERT, arXiv 2308.15122): settings, slots, state."""

from __future__ import annotations

from collections.abc import Iterator

from asnn_goose.shape.half import Half, Settings
from asnn_goose.shape.heads import cells, matrices, wide
from asnn_goose.shape.limits import Only, Size, setting
from asnn_goose.shape.rwkv7 import NO_SHIFT_RANK, no_parts_of_rwkv7
from asnn_goose.shape.slots import Slot, StateSlot, VectorSlot

KEPT = 24
"""Numbers that a backward pass keeps for every inner step, in multiples of the mixer's width."""


def _slots(settings: Settings, layer: int) -> Iterator[Slot]:
    """Four matrices, each with a norm behind it, and the decay of every head."""
    for slot in matrices(settings, "queries", "keys", "values"):
        yield slot
        for part in ("weight", "bias"):
            yield VectorSlot(name=f"{slot.name}_norm.{part}", shape=(slot.rows,))
    yield VectorSlot(name="decay", shape=(settings["num_attention_heads"],))


def _state(settings: Settings) -> tuple[StateSlot, ...]:
    """The fading counts of every inner step, axes [step, head, value, key]."""
    heads, size = settings["num_attention_heads"], settings["head_size"]
    return (StateSlot(name="memory", shape=(settings["inner_steps"], heads, size, size)),)


def _recurrence(settings: Settings) -> tuple[int, int]:
    """Of every step on the N x N numbers of every head: a decay, and spikes that add and read."""
    stepped = cells(settings) * int(settings["inner_steps"])
    return 2 * stepped, stepped


SPIKING_ATTENTION = Half(
    slots=_slots,
    kept=lambda settings: KEPT * wide(settings) * int(settings["inner_steps"]),
    settings={
        "head_size": setting(64, Size()),
        "gate": setting("sigmoid", Only("sigmoid")),
        "bonus": setting(True, Only(True)),
        "group_norm": setting(True, Only(True)),
        "qk_norm": setting(False, Only(False)),
        "shift_rank": NO_SHIFT_RANK,
        **(no_parts_of_rwkv7() | {"inner_steps": setting(0, Size(least=1))}),
    },
    state=_state,
    recurrence=_recurrence,
)
