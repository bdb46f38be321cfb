"""RWKV-4's time mixing (Peng et al. 2023, arXiv 2305.13048): its settings, slots and state."""

from __future__ import annotations

from collections.abc import Iterator

from asnn_goose.shape.half import Half, Settings
from asnn_goose.shape.heads import last_input, matrices, wide
from asnn_goose.shape.limits import Only, Size, setting
from asnn_goose.shape.rwkv7 import NO_SHIFT_RANK, no_parts_of_rwkv7
from asnn_goose.shape.slots import Slot, StateSlot, VectorSlot

KEPT = 16
"""Numbers that a backward pass keeps, in multiples of the mixer's width: inputs and outputs of its
matrices, and what WKV-4 saves."""


def _slots(settings: Settings, layer: int) -> Iterator[Slot]:
    """Three matrices that read, one that writes, decay and bonus of every channel."""
    yield from matrices(settings, "receptance", "key", "value")
    for name in ("decay", "bonus"):
        yield VectorSlot(name=name, shape=(wide(settings),))
    if settings["token_shift"]:
        yield VectorSlot(name="shift.mix", shape=(3, settings["hidden_size"]))


def _state(settings: Settings) -> tuple[StateSlot, ...]:
    """Numerator, denominator and exponent of every channel, and the last input."""
    return StateSlot(name="memory", shape=(3, wide(settings))), *last_input(settings)


def _recurrence(settings: Settings) -> tuple[int, int]:
    """Per channel, but for its four exponentials: both sums read and updated, and a quotient."""
    return 7 * wide(settings), 7 * wide(settings)


RWKV4 = Half(
    slots=_slots,
    kept=lambda settings: KEPT * wide(settings),
    settings={
        "head_size": setting(64, Size()),
        "gate": setting("sigmoid", Only("sigmoid")),
        "bonus": setting(True, Only(True)),
        "group_norm": setting(True, Only(True)),
        "qk_norm": setting(False, Only(False)),
        "shift_rank": NO_SHIFT_RANK,
        **no_parts_of_rwkv7(),
    },
    state=_state,
    recurrence=_recurrence,
)
"""Its gate is the sigmoid of the receptance; `bonus` is its u, and it has no other norm."""
