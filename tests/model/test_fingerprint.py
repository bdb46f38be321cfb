"""A model's fingerprint follows what it computes, not where its files lie."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from asnn_goose.model.fingerprint import fingerprint


def llama(**settings: object) -> LlamaForCausalLM:
    torch.manual_seed(0)
    shape = {"vocab_size": 16, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    return LlamaForCausalLM(LlamaConfig(**shape, num_attention_heads=2, **settings)).eval()


def test_it_is_the_same_wherever_the_files_lie(tmp_path: Path) -> None:
    model = llama()
    model.save_pretrained(tmp_path)
    read = LlamaForCausalLM.from_pretrained(tmp_path)
    assert fingerprint(read) == fingerprint(model) == fingerprint(llama())


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model.model.embed_tokens.weight.data[3, 3].add_(1e-3),
        lambda model: model.model.norm.weight.data.mul_(1.001),
        lambda model: model.to(torch.bfloat16),
        lambda model: setattr(model.config, "rope_theta", 5.0),
    ],
)
def test_weights_their_types_and_settings_count(
    change: Callable[[LlamaForCausalLM], object],
) -> None:
    model = llama()
    before = fingerprint(model)
    change(model)
    assert fingerprint(model) != before


def test_the_same_bits_of_another_type_are_another_model() -> None:
    model = llama().to(torch.bfloat16)
    before = fingerprint(model)
    for parameter in model.parameters():
        parameter.data = parameter.data.view(torch.float16)
    assert fingerprint(model) != before
