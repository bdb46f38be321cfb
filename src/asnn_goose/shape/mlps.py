"""The kinds of MLP: the Llama family's, GPT-2's, and RWKV-7's channel mix."""

from __future__ import annotations

from collections.abc import Iterator

from asnn_goose.shape.half import Half, Settings
from asnn_goose.shape.limits import Name, Words, setting
from asnn_goose.shape.slots import MatrixSlot, Slot, StateSlot, VectorSlot

ACTIVATIONS = ("silu", "swish", "gelu", "gelu_new", "gelu_pytorch_tanh", "relu")
"""Values of hidden_act that engine and oracle compute, by the names of Transformers."""

KEPT = 3
"""Numbers that a backward pass keeps, in multiples of the inner width: counted on the gated MLP."""


def _matrices(settings: Settings, into: tuple[str, ...], out: str, prefix: str) -> Iterator[Slot]:
    width, inner = settings["hidden_size"], settings["intermediate_size"]
    shapes = [(name, inner, width) for name in into] + [(out, width, inner)]
    for name, rows, columns in shapes:
        yield MatrixSlot(
            name=name,
            rows=rows,
            columns=columns,
            part="mlp",
            precision=prefix + name,
            bias=settings["mlp_bias"],
        )


def _gated(settings: Settings, layer: int) -> Iterator[Slot]:
    return _matrices(settings, ("gate", "up"), "down", prefix="")


def _plain(settings: Settings, layer: int) -> Iterator[Slot]:
    return _matrices(settings, ("up",), "down", prefix="")


def _channel_mix(settings: Settings, layer: int) -> Iterator[Slot]:
    yield from _matrices(settings, ("key",), "value", prefix="mlp_")  # the mixer has both names
    if settings["token_shift"]:
        yield VectorSlot(name="shift.mix", shape=(1, settings["hidden_size"]))


def _last_input(settings: Settings) -> tuple[StateSlot, ...]:
    last = StateSlot(name="shift", shape=(settings["hidden_size"],))
    return (last,) if settings["token_shift"] else ()


def _kept(settings: Settings) -> int:
    return KEPT * int(settings["intermediate_size"])


ACTIVATION = {"hidden_act": setting("silu", Name(), packed=Words(ACTIVATIONS))}

MLPS: dict[str, Half] = {
    "gated": Half(slots=_gated, kept=_kept, settings=ACTIVATION),
    "plain": Half(slots=_plain, kept=_kept, settings=ACTIVATION),
    "channel_mix": Half(slots=_channel_mix, kept=_kept, state=_last_input),
}
