from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import LlamaConfig

from asnn_goose.model import load_teacher
from asnn_goose.teachers.lab_teacher import (
    END_OF_TEXT,
    lab_config,
    lab_teacher,
    train_tokenizer,
)

TEXTS = [
    f"The goose number {n} flew {n * n} miles over the naïve lake, didn't it? 1990"
    for n in range(60)
]


@pytest.fixture(scope="module")
def config() -> LlamaConfig:
    config = lab_config(layers=2, vocabulary=290)
    config.hidden_size, config.intermediate_size, config.head_dim = 24, 64, 8
    return config


def test_it_is_a_small_smollm2() -> None:
    with torch.device("meta"):
        model = lab_teacher(lab_config())
    parameters = sum(p.numel() for p in model.parameters())
    assert 3_000_000 < parameters < 5_000_000
    assert 2 * parameters < 8_000_000 - 500_000  # room for the tokenizer
    config = lab_config()
    assert config.hidden_size // config.num_attention_heads == 64
    assert config.num_attention_heads == 3 * (config.num_key_value_heads or 0)
    with pytest.raises(ValueError, match="heads = 4"):
        lab_config(heads=4)


def test_the_tokenizer_gives_every_text_back() -> None:
    tokenizer = train_tokenizer(TEXTS, vocabulary=290)
    assert len(tokenizer) == 290
    assert tokenizer.get_vocab()[END_OF_TEXT] == 0 == tokenizer.eos_token_id
    for text in ("naïve geese", "日本 \n\t x", " 12 goose34"):
        assert tokenizer.decode(tokenizer(text).input_ids) == text
    # In every text, and yet not one entry.
    digits = tokenizer.convert_ids_to_tokens(tokenizer("1990").input_ids)
    assert digits == ["1", "9", "9", "0"]


def test_the_tokenizer_is_the_same_every_time() -> None:
    first, second = (train_tokenizer(iter(TEXTS), vocabulary=290) for _ in range(2))
    assert first.backend_tokenizer.to_str() == second.backend_tokenizer.to_str()


def test_too_little_text_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"vocabulary = 4096: the texts give \d+"):
        train_tokenizer(["a goose"])


def test_it_is_saved_in_fp16_and_loads_as_a_teacher(config: LlamaConfig, tmp_path: Path) -> None:
    model = lab_teacher(config)
    model.save_pretrained(tmp_path)
    train_tokenizer(TEXTS, vocabulary=290).save_pretrained(tmp_path)
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.float16}  # noqa: SIM118
    assert next(model.parameters()).dtype == torch.float32
    teacher = load_teacher(str(tmp_path))
    assert teacher.tokenizer is not None
    assert len(teacher.tokenizer) == 290
    tokens_BT = torch.randint(290, (1, 5))
    ours = model.trace(tokens_BT, frozenset({"vocab"})).vocab(slice(None))
    theirs = teacher.trace(tokens_BT, frozenset({"vocab"})).vocab(slice(None))
    torch.testing.assert_close(ours, theirs, atol=1e-2, rtol=1e-2)
