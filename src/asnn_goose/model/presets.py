"""Whole published models, to learn from scratch in a teacher's width, depth and words."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from asnn_goose.names import lookup

_RWKV: dict[str, Any] = {
    "norm": "layer",
    "norm_eps": 1e-5,
    "embedding_norm": True,
    "tie_word_embeddings": False,
    "qkv_bias": False,
    "output_bias": False,
    "mlp_bias": False,
    "qk_norm": False,
    "n_positions": 0,
    "rope": False,
}

_LIF = {"steps": 1, "neuron": "lif"}
_BINARY = {"embedding": {"steps": 1, "neuron": "heaviside"}}

PRESETS: MappingProxyType[str, dict[str, Any]] = MappingProxyType(
    {
        "rwkv4": _RWKV | {"mixer": "rwkv4", "mlp": "gated_channel_mix"},
        "rwkv5": _RWKV | {"mixer": "rwkv5", "mlp": "gated_channel_mix", "gate": "silu"},
        "rwkv6": _RWKV | {"mixer": "rwkv6", "mlp": "gated_channel_mix", "gate": "silu"},
        "rwkv7": _RWKV | {"mixer": "rwkv7", "mlp": "channel_mix"},
        "spikegpt": _RWKV
        | {
            "mixer": "rwkv4",
            "mlp": "gated_channel_mix",
            "dropout": 0.03,
            "precision": _BINARY | {"mixer_out": _LIF, "mlp_out": _LIF},
        },
        "spikebert": _RWKV
        | {
            "mixer": "spiking_attention",
            "mlp": "spiking",
            "norm": "none",
            "embedding_norm": False,
            "inner_steps": 4,
            "qkv_bias": True,
            "output_bias": True,
            "mlp_bias": True,
            "precision": _BINARY,
        },
    }
)
"""RWKV-4 (arXiv 2305.13048), 5 and 6 (2404.05892) and 7 (2503.14456).

spikegpt   2302.13939: RWKV-4 whose halves add spikes to a stream that starts binary
spikebert  2308.15122, made causal (mixers.spiking_attention); published with 16 inner steps
"""

INNER = {"rwkv5": 3.5, "rwkv6": 3.5}
"""Width of the published MLPs, in multiples of the model's, where it is not 4; by 32s."""


def preset_settings(name: str, *, width: int) -> dict[str, Any]:
    """Settings of a preset at a width; ValueError for another name."""
    settings = lookup(PRESETS, name, setting="preset")
    return settings | {"intermediate_size": max(32, int(INNER.get(name, 4.0) * width) // 32 * 32)}
