"""RWKV-4's time mixing (Peng et al. 2023, arXiv 2305.13048): its settings, slots and state."""

from __future__ import annotations

from collections.abc import Iterator

from asnn_goose.shape.half import Half, Settings
from asnn_goose.shape.limits import Only, Size, setting
from asnn_goose.shape.rwkv7 import NO_SHIFT_RANK, no_parts_of_rwkv7
from asnn_goose.shape.slots import MatrixSlot, Slot, StateSlot, VectorSlot

KEPT = 16
"""Numbers that a backward pass keeps, in multiples of the mixer's width: inputs and outputs of its
matrices, and what WKV-4 saves."""


def _wide(settings: Settings) -> int:
    return int(settings["num_attention_heads"] * settings["head_size"])


def _slots(settings: Settings, layer: int) -> Iterator[Slot]:
    """Three matrices that read, one that writes, decay and bonus of every channel."""
    width, wide = settings["hidden_size"], _wide(settings)
    for name, rows, columns, bias in (
        ("receptance", wide, width, "qkv_bias"),
        ("key", wide, width, "qkv_bias"),
        ("value", wide, width, "qkv_bias"),
        ("output", width, wide, "output_bias"),
    ):
        yield MatrixSlot(
            name=name,
            rows=rows,
            columns=columns,
            part="mixer",
            precision=name,
            bias=settings[bias],
        )
    yield VectorSlot(name="decay", shape=(wide,))
    yield VectorSlot(name="bonus", shape=(wide,))
    if settings["token_shift"]:
        yield VectorSlot(name="shift.mix", shape=(3, width))


def _state(settings: Settings) -> tuple[StateSlot, ...]:
    """Numerator, denominator and exponent of every channel, and the last input."""
    memory = StateSlot(name="memory", shape=(3, _wide(settings)))
    if not settings["token_shift"]:
        return (memory,)
    return memory, StateSlot(name="shift", shape=(settings["hidden_size"],))


def _kept(settings: Settings) -> int:
    return KEPT * _wide(settings)


def _recurrence(settings: Settings) -> tuple[int, int]:
    """Per channel, but for its four exponentials: both sums read and updated, and a quotient."""
    return 7 * _wide(settings), 7 * _wide(settings)


RWKV4 = Half(
    slots=_slots,
    kept=_kept,
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
