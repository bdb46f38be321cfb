"""What mixers with heads have in common: widths, matrices, and what they carry."""

from __future__ import annotations

from collections.abc import Iterator

from asnn_goose.shape.half import Settings
from asnn_goose.shape.slots import MatrixSlot, StateSlot, projection


def wide(settings: Settings) -> int:
    """Width inside the mixer: heads times head size."""
    return int(settings["num_attention_heads"] * settings["head_size"])


def cells(settings: Settings) -> int:
    """Numbers of the N x N memories of all heads."""
    return wide(settings) * int(settings["head_size"])


def matrices(settings: Settings, *readers: str) -> Iterator[MatrixSlot]:
    """Those that read the residual stream, and last the `output` that writes to it."""
    width, inner = settings["hidden_size"], wide(settings)
    for name in readers:
        yield projection("mixer", name, inner, width, bias=settings["qkv_bias"])
    yield projection("mixer", "output", width, inner, bias=settings["output_bias"])


def memories(settings: Settings) -> StateSlot:
    """The matrix memory, axes [head, value, key]."""
    heads, size = settings["num_attention_heads"], settings["head_size"]
    return StateSlot(name="memory", shape=(heads, size, size))


def last_input(settings: Settings) -> tuple[StateSlot, ...]:
    """What a token shift carries, where there is one."""
    last = StateSlot(name="shift", shape=(settings["hidden_size"],))
    return (last,) if settings["token_shift"] else ()
