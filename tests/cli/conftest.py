"""A tiny teacher, a tiny student and a recipe on disk, and a cache of their own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from typer.testing import CliRunner

from asnn_goose.model import GooseConfig, GooseForCausalLM

VOCABULARY = 257


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASNN_GOOSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture
def runner() -> CliRunner:
    return CliRunner()


@pytest.fixture(scope="session")
def teacher_dir(
    tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast
) -> Path:
    folder = tmp_path_factory.mktemp("teacher")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=256,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def student_dir(
    tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast
) -> Path:
    folder = tmp_path_factory.mktemp("student")
    torch.manual_seed(1)
    config = GooseConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        head_size=16,
    )
    GooseForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def long_text_file(tmp_path: Path) -> Path:
    """Enough paragraphs for all three splits."""
    file = tmp_path / "long.txt"
    paragraphs = (f"Paragraph {n} tells of {n * n} geese over the lake. " * 12 for n in range(400))
    file.write_text("\n\n".join(paragraphs), encoding="utf-8")
    return file


@pytest.fixture
def recipe_file(tmp_path: Path, teacher_dir: Path, long_text_file: Path, text_file: Path) -> Path:
    """Two short stages on a text of one's own."""
    file = tmp_path / "tiny.toml"
    file.write_text(
        f"""
        name = "tiny"
        seed = 3
        teacher = [{{ model = "{teacher_dir}" }}]
        data = {{ train = ["{long_text_file}"], out_of_domain = ["{text_file}"] }}
        eval = {{ window = 64, tokens = "1k" }}

        [[stage]]
        kind = "align"
        train = "mixers"
        tokens = 512
        window = 32
        batch = 4
        lr = 1e-3
        losses = [{{ name = "attention_output" }}]

        [[stage]]
        kind = "distill"
        train = "all"
        tokens = 512
        window = 64
        batch = 2
        lr = 1e-4
        losses = [{{ name = "kl" }}]
        """,
        encoding="utf-8",
    )
    return file


TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}<|endoftext|>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture(scope="session")
def instruct_dir(student_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny student with a chat template."""
    target = tmp_path_factory.mktemp("chat") / "student"
    folder = Path(shutil.copytree(student_dir, target, ignore=shutil.ignore_patterns("packed")))
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder
