"""A small student whose every part speaks, in PyTorch and on the engine, and a small teacher."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from asnn_goose.eval.readers.engine_reader import EngineReader
from asnn_goose.eval.readers.torch_reader import TorchReader
from asnn_goose.export.packed import PackSettings, export_packed
from asnn_goose.format.packed import read_packed
from asnn_goose.infer.engine import Engine
from asnn_goose.infer.text import Vocabulary, vocabulary_of
from asnn_goose.model import GooseConfig, GooseForCausalLM
from asnn_goose.model.teacher import Teacher

LOSSLESS = PackSettings(dense="f32", low_rank="f32", head="f16")
SIZES: dict[str, Any] = {
    "vocab_size": 257,
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}


@pytest.fixture(scope="session")
def vocabulary(tokenizer: PreTrainedTokenizerFast) -> Vocabulary:
    return vocabulary_of(
        tokenizer.backend_tokenizer,
        named={"eos_token": tokenizer.eos_token},
        settings=[],
        where="test",
    )


@pytest.fixture(scope="session")
def goose() -> Callable[..., GooseForCausalLM]:
    """Make a small student and move every parameter away from its neutral start."""

    def make(**changes: Any) -> GooseForCausalLM:
        torch.manual_seed(0)
        model = GooseForCausalLM(
            GooseConfig(**(SIZES | {"head_size": 16, "mlp": "gated"} | changes))
        )
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
            for rows in (model.embedding.weight, model.lm_head.weight):
                rows.copy_(rows.half())
        return model.eval()

    return make


@pytest.fixture(scope="session")
def student_reader(goose: Callable[..., GooseForCausalLM], vocabulary: Vocabulary) -> TorchReader:
    model = goose()
    return TorchReader(model, model.trace, vocabulary, name="student")


@pytest.fixture(scope="session")
def engine_reader(
    goose: Callable[..., GooseForCausalLM],
    vocabulary: Vocabulary,
    tmp_path_factory: pytest.TempPathFactory,
) -> EngineReader:
    folder = tmp_path_factory.mktemp("student") / "packed"
    export_packed(goose(), folder, settings=LOSSLESS)
    return EngineReader(Engine(read_packed(folder), threads=1), vocabulary, name="engine")


@pytest.fixture(scope="session")
def teacher_model() -> LlamaForCausalLM:
    torch.manual_seed(3)
    config = LlamaConfig(**SIZES, num_key_value_heads=2, max_position_embeddings=32)
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


@pytest.fixture(scope="session")
def teacher_reader(teacher_model: LlamaForCausalLM, vocabulary: Vocabulary) -> TorchReader:
    teacher = Teacher(teacher_model, None, name="teacher")
    return TorchReader(teacher.model, teacher.trace, vocabulary, name="teacher")
