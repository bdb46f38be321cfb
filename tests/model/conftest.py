from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import (
    AutoModelForCausalLM,
    FalconConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    GraniteConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    Olmo2Config,
    Olmo3Config,
    Phi3Config,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
    SmolLM3Config,
)

from asnn_goose.model import GooseConfig, GooseForCausalLM, Teacher

SHAPE: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "head_size": 16,
    "intermediate_size": 96,
}


@pytest.fixture(scope="session")
def llama() -> Callable[..., Teacher]:
    """Make a random teacher with grouped key-value heads, of the small student's shape."""
    shape = {name: value for name, value in SHAPE.items() if name != "head_size"}

    def make(**changes: Any) -> Teacher:
        settings = shape | {"num_key_value_heads": 2, "head_dim": 16} | changes
        torch.manual_seed(0)
        return Teacher(LlamaForCausalLM(LlamaConfig(**settings)), None, name="tiny")

    return make


ROTARY: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 96,
    "tie_word_embeddings": True,
}
LEARNED: dict[str, Any] = {
    "vocab_size": 97,
    "n_embd": 64,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 48,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
NO_SPECIAL: dict[str, Any] = {"pad_token_id": None, "bos_token_id": 1, "eos_token_id": 2}
MULTIPLIERS: dict[str, Any] = {
    "embedding_multiplier": 5.0,
    "residual_multiplier": 0.3,
    "attention_multiplier": 0.11,
    "logits_scaling": 4.0,
    "attention_bias": True,
    "mlp_bias": True,
}
WINDOWS: dict[str, Any] = {
    "sliding_window": 8,
    "layer_types": ["sliding_attention", "full_attention"],
}
GEMMA: dict[str, Any] = WINDOWS | {
    "head_dim": 16,
    "query_pre_attn_scalar": 20,
    "final_logit_softcapping": 3.0,
    "attn_logit_softcapping": None,
}
NEOX: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 96,
}
FALCON: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "bias": True,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
FAMILY_CONFIGS: dict[str, tuple[type[PreTrainedConfig], dict[str, Any]]] = {
    "llama": (LlamaConfig, ROTARY | {"head_dim": 16, "tie_word_embeddings": False}),
    "llama-80": (LlamaConfig, ROTARY | {"hidden_size": 160, "num_attention_heads": 2}),
    "mistral": (MistralConfig, ROTARY | {"sliding_window": None}),
    "qwen2": (Qwen2Config, ROTARY),
    "qwen3": (Qwen3Config, ROTARY | {"head_dim": 32}),
    "gpt2": (GPT2Config, LEARNED),
    "smollm3": (SmolLM3Config, ROTARY | NO_SPECIAL | {"no_rope_layers": [1, 0]}),
    "phi3": (Phi3Config, ROTARY | NO_SPECIAL | {"partial_rotary_factor": 0.5}),
    "granite": (GraniteConfig, ROTARY | NO_SPECIAL | MULTIPLIERS),
    "granite-untied": (
        GraniteConfig,
        ROTARY | NO_SPECIAL | MULTIPLIERS | {"tie_word_embeddings": False},
    ),
    "olmo2": (Olmo2Config, ROTARY | NO_SPECIAL),
    "olmo3": (Olmo3Config, ROTARY | NO_SPECIAL | WINDOWS),
    "gemma2": (Gemma2Config, ROTARY | NO_SPECIAL | GEMMA),
    "gemma3_text": (Gemma3TextConfig, ROTARY | NO_SPECIAL | GEMMA),
    "gpt_neox": (GPTNeoXConfig, NEOX | {"rotary_pct": 0.25}),
    "gpt_neox-serial": (GPTNeoXConfig, NEOX | {"use_parallel_residual": False}),
    "falcon": (FalconConfig, FALCON),
    "falcon-new": (FalconConfig, FALCON | {"new_decoder_architecture": True, "num_kv_heads": 2}),
    "falcon-serial": (FalconConfig, FALCON | {"parallel_attn": False, "multi_query": False}),
}
"""Tiny configurations of every family; qwen3 is wider inside its attention than outside."""


@pytest.fixture(scope="session")
def of_family() -> Callable[..., Teacher]:
    """Make a random teacher of a family, with norms and biases that speak."""

    def make(family: str, *, words: int = 0, **changes: Any) -> Teacher:
        kind, settings = FAMILY_CONFIGS[family]
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(kind(**(settings | changes)))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
        return Teacher(model, tokenizer_of(words) if words else None, name=f"tiny {family}")

    return make


def tokenizer_of(words: int) -> PreTrainedTokenizerFast:
    """A tokenizer of so many words."""
    vocabulary = {f"w{number}": number for number in range(words)}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(vocabulary, unk_token="w0"))
    )


@torch.no_grad()
def awake(model: GooseForCausalLM) -> GooseForCausalLM:
    """Move every parameter, so that no part is hidden by a neutral start."""
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


@pytest.fixture(scope="session")
def fresh() -> Callable[..., GooseForCausalLM]:
    """Make a small student whose every part speaks."""

    def make(**changes: Any) -> GooseForCausalLM:
        torch.manual_seed(0)
        return awake(GooseForCausalLM(GooseConfig(**(SHAPE | changes))))

    return make


@pytest.fixture
def teacher(llama: Callable[..., Teacher]) -> Teacher:
    return llama()


@pytest.fixture
def tokens_BT() -> torch.Tensor:
    return torch.randint(0, 97, (2, 41), generator=torch.Generator().manual_seed(2))
