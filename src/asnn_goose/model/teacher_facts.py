"""What a reader wants to know of a teacher, from its configuration: no weights are read."""

from __future__ import annotations

import torch
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedConfig


def facts(config: PreTrainedConfig) -> dict[str, str]:
    """Family, shape, parameters and context in words, by what each is called."""
    kv_heads = getattr(config, "num_key_value_heads", config.num_attention_heads)
    inner = getattr(config, "intermediate_size", None) or getattr(config, "n_inner", None)
    return {
        "family": config.model_type,
        "layers": f"{config.num_hidden_layers}",
        "width": f"{config.hidden_size}, MLP {inner or 4 * config.hidden_size}",
        "heads": f"{config.num_attention_heads}, key-value {kv_heads}",
        "vocabulary": f"{config.vocab_size:,}",
        "context": f"{config.max_position_embeddings:,}",
        "parameters": f"{parameters(config):,}",
    }


def parameters(config: PreTrainedConfig) -> int:
    """Parameters of the model a configuration describes, tied ones counted once."""
    with torch.device("meta"):
        model: nn.Module = AutoModelForCausalLM.from_config(config)
    return sum(parameter.numel() for parameter in model.parameters())
