"""RWKV-5 and RWKV-6, "Eagle" and "Finch" (Peng et al. 2024, arXiv 2404.05892)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from asnn_goose.shape.half import Half, Settings
from asnn_goose.shape.heads import cells, last_input, matrices, memories, wide
from asnn_goose.shape.limits import Only, Setting, Size, Switch, Words, setting
from asnn_goose.shape.rwkv7 import NO_SHIFT_RANK, no_parts_of_rwkv7
from asnn_goose.shape.slots import MatrixSlot, Slot, StateSlot, VectorSlot, low_rank, projection

RANKS = {"decay_rank": 64, "shift_rank": 32}
"""Low-rank sizes of RWKV-6 as published for widths below 4096."""

KEPT = 30
"""Numbers that a backward pass keeps, in multiples of the mixer's width."""


def _slots(settings: Settings, layer: int, *, dynamic: bool) -> Iterator[Slot]:
    """Its matrices, decay, bonus, shift and norms; with `dynamic` those that follow the data."""
    width, inner, size = settings["hidden_size"], wide(settings), settings["head_size"]
    gated = settings["gate"] != "none"
    *readers, output = matrices(settings, "receptance", "key", "value")
    yield from readers
    if gated:
        yield projection("mixer", "gate", inner, width, bias=False, precision="mixer_gate")
    yield output
    if dynamic:
        yield from low_rank("decay", width, settings["decay_rank"], inner)
    else:
        yield VectorSlot(name="decay", shape=(inner,))
    if settings["token_shift"]:
        yield from _shift(settings, consumers=3 + gated + dynamic, dynamic=dynamic)
    for switch, name, shape in (
        ("bonus", "bonus", (settings["num_attention_heads"], size)),
        ("group_norm", "norm.weight", (inner,)),
        ("group_norm", "norm.bias", (inner,)),
        ("qk_norm", "query_norm.weight", (size,)),
        ("qk_norm", "key_norm.weight", (size,)),
    ):
        if settings[switch]:
            yield VectorSlot(name=name, shape=shape)


def _shift(settings: Settings, *, consumers: int, dynamic: bool) -> Iterator[Slot]:
    """Shares of the token before; RWKV-6 has one more for what makes them follow the data."""
    width, rank = settings["hidden_size"], settings["shift_rank"]
    yield VectorSlot(name="shift.mix", shape=(consumers + dynamic, width))
    if dynamic:
        yield MatrixSlot(name="shift.down", rows=consumers * rank, columns=width, part="low-rank")
        yield VectorSlot(name="shift.up", shape=(consumers, rank, width))


def _state(settings: Settings) -> tuple[StateSlot, ...]:
    return memories(settings), *last_input(settings)


def _recurrence(settings: Settings) -> tuple[int, int]:
    """On the N x N numbers of every head: S r, decay, and v k^T."""
    return 2 * cells(settings), 3 * cells(settings)


def _settings(*, dynamic: bool) -> dict[str, Setting]:
    ranks = {name: setting(0, Size(least=0)) for name in RANKS}
    return {
        "head_size": setting(64, Size()),
        "gate": setting("sigmoid", Words(("silu", "sigmoid", "one_plus", "none"))),
        "bonus": setting(True, Switch()),
        "group_norm": setting(True, Switch()),
        "qk_norm": setting(False, Switch()),
        # Its norms take a head by itself: one over all heads, as in OLMo 2, could not be inherited.
        "qk_norm_over": setting("head", Only("head")),
        **no_parts_of_rwkv7(),
        **(ranks if dynamic else {"shift_rank": NO_SHIFT_RANK}),
    }


def _completed(settings: Settings) -> dict[str, int]:
    return {name: rank for name, rank in RANKS.items() if not settings[name]}


def _half(*, dynamic: bool) -> Half:
    return Half(
        slots=partial(_slots, dynamic=dynamic),
        kept=lambda settings: KEPT * wide(settings),
        settings=_settings(dynamic=dynamic),
        state=_state,
        recurrence=_recurrence,
        completed=_completed if dynamic else lambda _: {},
    )


RWKV5, RWKV6 = _half(dynamic=False), _half(dynamic=True)
