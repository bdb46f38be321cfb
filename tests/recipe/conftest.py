from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from asnn_goose.recipe import RecipeError, build_run, load_recipe
from asnn_goose.recipe.load import check_recipe, override
from asnn_goose.train.loop import run

SENTENCE = "the goose flies over the quiet lake and the old teacher writes a long letter home"
WORDS = SENTENCE.split()


@pytest.fixture(scope="session")
def minimal() -> Callable[[], dict[str, Any]]:
    """The shortest recipe with both kinds of stage."""

    def make() -> dict[str, Any]:
        """The shortest recipe with both kinds of stage."""
        shared = {"tokens": "1k", "window": 8, "batch": 2, "lr": 1e-3}
        return {
            "name": "tiny",
            "teacher": [{"model": "somewhere"}],
            "stage": [
                {
                    "kind": "align",
                    "train": "mixers",
                    "losses": [{"name": "attention_output"}],
                    **shared,
                },
                {"kind": "distill", "train": "all", "losses": [{"name": "kl"}], **shared},
            ],
        }

    return make


@pytest.fixture(scope="session")
def changed(minimal: Callable[[], dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """It with `--set` settings."""

    def make(*settings: str) -> dict[str, Any]:
        raw = minimal()
        for setting in settings:
            override(raw, setting)
        return raw

    return make


@pytest.fixture(scope="session")
def error_of(changed: Callable[..., dict[str, Any]]) -> Callable[..., str]:
    """What is said of it with wrong settings."""

    def make(*settings: str) -> str:
        with pytest.raises(RecipeError) as wrong:
            check_recipe(changed(*settings), source="a.toml")
        return str(wrong.value)

    return make


class Quiet:
    def on_step(self, info: object) -> None:
        pass

    def on_message(self, text: str) -> None:
        pass


@pytest.fixture(scope="session")
def carry_out() -> Callable[..., None]:
    """Train what a recipe file says."""

    def make(path: Path, out: Path, *settings: str, resume: bool = False) -> None:
        recipe = load_recipe(path, settings)
        run(build_run(recipe, tell=lambda text: None), out=out, resume=resume, progress=Quiet())

    return make


@pytest.fixture(scope="module")
def teacher_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama with a tokenizer, as `save_pretrained` leaves it."""
    folder = tmp_path_factory.mktemp("teacher")
    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = ["<unk>", "<|endoftext|>"]
    tokenizer.train_from_iterator([WORDS], trainers.WordLevelTrainer(special_tokens=special))
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", eos_token="<|endoftext|>"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def recipe_of(changed: Callable[..., dict[str, Any]]) -> Callable[[Path, Path], Path]:
    """Write a recipe over a teacher and a text file into a folder."""

    def make(folder: Path, teacher: Path) -> Path:
        text = folder / "text.txt"
        text.write_text("\n\n".join(" ".join(WORDS[i % 7 :] * 12) for i in range(80)))
        raw = check_recipe(
            changed(
                f"teacher.0.model='{teacher}'",
                f"data.train=['{text}']",
                "train.threads=1",
                "stage.0.tokens=64",
                "stage.1.tokens=64",
                "stage.1.window=16",
            ),
            source="",
        )
        path = folder / "recipe.toml"
        path.write_text(raw.to_toml())
        return path

    return make


@pytest.fixture
def recipe_file(
    teacher_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    recipe_of: Callable[[Path, Path], Path],
) -> Path:
    """A recipe over the random teacher and a text file."""
    monkeypatch.setenv("ASNN_GOOSE_CACHE", str(tmp_path / "cache"))
    return recipe_of(tmp_path, teacher_folder)


@pytest.fixture(scope="module")
def one_recipe(
    teacher_folder: Path, recipe_of: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """One recipe, with one cache for its texts."""
    folder = tmp_path_factory.mktemp("keys")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("ASNN_GOOSE_CACHE", str(folder / "cache"))
        yield recipe_of(folder, teacher_folder)


@pytest.fixture(scope="module")
def places(one_recipe: Path, teacher_folder: Path) -> dict[str, Path]:
    """What settings may name: texts, another teacher, a student to go on from."""
    folder = one_recipe.parent
    text, other = folder / "text.txt", folder / "other"
    words = text.read_text().split()
    lines = (" ".join(words[number % 97 :: number + 1]) for number in range(400))
    (folder / "more.txt").write_text("\n\n".join(lines))
    model = AutoModelForCausalLM.from_pretrained(teacher_folder)
    with torch.no_grad():
        model.model.norm.weight.mul_(1.5)
        model.get_input_embeddings().weight.mul_(1.5)
    model.save_pretrained(other)
    recipe = load_recipe(one_recipe, ("student.variant='goose'",))
    student = build_run(recipe, tell=lambda text: None).student
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.mul_(1.1)
    student.save_pretrained(folder / "student")
    for part in teacher_folder.glob("tokenizer*"):
        for copy in (other, folder / "student"):
            (copy / part.name).write_bytes(part.read_bytes())
    with (folder / "examples.jsonl").open("w") as stream:
        for n in range(60):
            record = {"prompt": " ".join(words[n : n + 3]) + " ", "completion": words[n % 7]}
            stream.write(json.dumps(record) + "\n")
    found = {"text": text, "more": folder / "more.txt", "teacher": teacher_folder}
    found["examples"] = folder / "examples.jsonl"
    return found | {"other": other, "student": folder / "student"}
