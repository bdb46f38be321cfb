"""The kinds of MLP: the Llama family's, GPT-2's, and the channel mixes of RWKV."""

from __future__ import annotations

from collections.abc import Iterator

from asnn_goose.shape.half import Half, Settings
from asnn_goose.shape.heads import last_input
from asnn_goose.shape.limits import Fault, Name, Words, setting
from asnn_goose.shape.slots import MatrixSlot, Slot, VectorSlot, projection

ACTIVATIONS = ("silu", "swish", "gelu", "gelu_new", "gelu_pytorch_tanh", "relu")
"""Values of hidden_act that engine and oracle compute, by the names of Transformers."""

KEPT = 3
"""Numbers that a backward pass keeps, in multiples of the inner width: counted on the gated MLP."""


def _matrices(settings: Settings, into: tuple[str, ...], out: str, prefix: str) -> Iterator[Slot]:
    width, inner, bias = (settings[n] for n in ("hidden_size", "intermediate_size", "mlp_bias"))
    for name, rows, columns in [(name, inner, width) for name in into] + [(out, width, inner)]:
        yield projection("mlp", name, rows, columns, bias=bias, precision=prefix + name)


def _gated(settings: Settings, layer: int) -> Iterator[Slot]:
    return _matrices(settings, ("gate", "up"), "down", prefix="")


def _plain(settings: Settings, layer: int) -> Iterator[Slot]:
    return _matrices(settings, ("up",), "down", prefix="")


def _channel_mix(settings: Settings, layer: int) -> Iterator[Slot]:
    yield from _matrices(settings, ("key",), "value", prefix="mlp_")  # the mixer has both names
    if settings["token_shift"]:
        yield VectorSlot(name="shift.mix", shape=(1, settings["hidden_size"]))


def _gated_channel_mix(settings: Settings, layer: int) -> Iterator[Slot]:
    width, bias = settings["hidden_size"], settings["mlp_bias"]
    yield projection("mlp", "receptance", width, width, bias=bias, precision="mlp_receptance")
    yield from _matrices(settings, ("key",), "value", prefix="mlp_")
    if settings["token_shift"]:
        yield VectorSlot(name="shift.mix", shape=(2, width))


def _spiking(settings: Settings, layer: int) -> Iterator[Slot]:
    for slot in _plain(settings, layer):
        yield slot
        if isinstance(slot, MatrixSlot):
            for part in ("weight", "bias"):
                yield VectorSlot(name=f"{slot.name}_norm.{part}", shape=(slot.rows,))


def _one_step(settings: Settings) -> Iterator[Fault]:
    if not settings["inner_steps"]:
        yield Fault("mlp", "spiking", "of a mixer with inner steps, such as spiking_attention")


def _kept(settings: Settings) -> int:
    return KEPT * int(settings["intermediate_size"])


ACTIVATION = {"hidden_act": setting("silu", Name(), packed=Words(ACTIVATIONS))}

MLPS: dict[str, Half] = {
    "gated": Half(slots=_gated, kept=_kept, settings=ACTIVATION, engine=True),
    "plain": Half(slots=_plain, kept=_kept, settings=ACTIVATION, engine=True),
    "channel_mix": Half(slots=_channel_mix, kept=_kept, state=last_input, engine=True),
    "spiking": Half(slots=_spiking, kept=_kept, faults=_one_step),
    "gated_channel_mix": Half(slots=_gated_channel_mix, kept=_kept, state=last_input),
}
