"""Which of llama.cpp's architectures can hold a student, or which setting is in the way.

Its graphs are `src/models/arwkv7.cpp` and `rwkv7.cpp` of llama.cpp. Parts that can be switched off
in a student but not there are written as numbers that have no effect (`tensors.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from asnn_goose.export.forms import ExportError
from asnn_goose.model import GooseConfig, GooseForCausalLM
from asnn_goose.model.mixers.rwkv7.weights import RWKV7Weights
from asnn_goose.model.parts.projection import Projection
from asnn_goose.shape.settings import all_settings

Architecture = Literal["arwkv7", "rwkv7"]

BY_MLP: Mapping[str, Architecture] = {"gated": "arwkv7", "channel_mix": "rwkv7"}

BOTH: Mapping[str, tuple[Any, ...]] = {
    "mixer": ("rwkv7",),
    "rope": (False,),
    "value_shift": (False,),
    "qk_norm": (False,),
    "qkv_bias": (False,),
    "output_bias": (False,),
    "mlp_bias": (False,),
    "n_positions": (0,),
    "norm_place": ("before",),
    "parallel": (False,),
    "logit_cap": (0.0,),
}
NEEDED: Mapping[Architecture, Mapping[str, tuple[Any, ...]]] = {
    "arwkv7": {"hidden_act": ("silu", "swish"), "norm": ("rms",), "embedding_norm": (False,)},
    "rwkv7": {
        "norm": ("layer",),
        "embedding_norm": (True,),
        "group_norm": (True,),
        "gate": ("sigmoid", "one_plus"),
    },
}
"""Setting -> what it may be."""

HELD = frozenset(
    {"vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "head_size"}
    | {"intermediate_size", "mlp", "hidden_act", "norm_eps", "embedding_norm", "real_vocab_size"}
    | {"tie_word_embeddings", "precision", "bos_token_id", "eos_token_id", "pad_token_id"}
    | {"token_shift", "decay_rank", "rate_rank", "value_rank", "gate_rank", "gate", "v_first"}
    | {"removal_key", "key_replacement", "bonus", "group_norm", "norm"}
    | {"rope_theta", "rope_thetas", "rope_channels", "qk_norm_over"}  # nothing without their part
)
"""Settings that may be anything, but for what is said above; others must have their default."""

GROUP_NORM_HEAD = 64
"""llama.cpp has the epsilon of the group norm for heads of this size written into its graph."""


def architecture_of(model: GooseForCausalLM) -> Architecture:
    """The architecture that holds a student. Raises ExportError with everything in the way."""
    config = model.config
    found = BY_MLP.get(config.mlp)
    if found is None:
        raise ExportError(
            f"mlp = {config.mlp!r}: llama.cpp has {' and '.join(map(repr, BY_MLP))} alone"
        )
    if wrong := [*_settings(config, found), *_sizes(config), *_precision(model)]:
        raise ExportError(f"llama.cpp's {found} cannot hold this student: " + "; ".join(wrong))
    return found


def _settings(config: GooseConfig, architecture: Architecture) -> Iterator[str]:
    said = dict((*BOTH.items(), *NEEDED[architecture].items()))
    others = {n: (known.default,) for n, known in all_settings().items() if n not in HELD}
    for name, allowed in (others | said).items():
        value = getattr(config, name)
        if value not in allowed:
            yield f"{name} = {value!r}, must be {' or '.join(map(repr, allowed))}"


def _sizes(config: GooseConfig) -> Iterator[str]:
    if config.mixer_size != config.hidden_size:
        yield (
            f"num_attention_heads * head_size = {config.mixer_size}, must be hidden_size ="
            f" {config.hidden_size}"
        )
    if config.group_norm and config.head_size != GROUP_NORM_HEAD:
        yield f"head_size = {config.head_size}, must be {GROUP_NORM_HEAD} with group_norm = True"


def _precision(model: GooseForCausalLM) -> Iterator[str]:
    """The first place of each kind that is not a plain matrix product with finished weights."""
    modules = dict(model.named_modules())
    matrices = {name: one for name, one in modules.items() if isinstance(one, Projection)}
    spiking = [name for name, matrix in matrices.items() if matrix.neuron is not None]
    spiking += [
        f"{name}.{site}"
        for name, mixer in modules.items()
        if isinstance(mixer, RWKV7Weights)
        for site in mixer.sites
        if getattr(mixer, f"{site}_neuron") is not None
    ]
    spiking += [] if model.head_neuron is None else ["head"]
    norms = [name for name, matrix in matrices.items() if matrix.sub_norm is not None]
    if spiking:
        yield f"precision: {spiking[0]} spikes, must have steps = 0"
    if norms:
        yield f"precision: {norms[0]} has a norm of its own, must have sub_norm = false"
