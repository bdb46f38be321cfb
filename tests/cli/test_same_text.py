"""What a model says is what Transformers says it says, whatever its tokenizer."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)
from typer.testing import CliRunner

from asnn_goose.cli import app
from asnn_goose.export.packed import PackSettings, export_packed
from asnn_goose.infer.sampler import Sampling
from asnn_goose.model import GooseConfig, GooseForCausalLM
from asnn_goose.subject.engine_model import EngineModel, load_engine
from asnn_goose.subject.source import source_of
from asnn_goose.subject.torch_model import TorchModel, load_torch

Make = Callable[..., PreTrainedTokenizerFast]
KINDS = ["byte_fallback", "sentencepiece", "byte_level"]
PROMPTS = ["日本語日本語", "naïve 雪 </s> goose ", ""]
SHAPE = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}


def lively(model: torch.nn.Module) -> None:
    """Large enough weights that greedy text wanders; rows of tokens that fp16 holds."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
        for rows in (model.get_input_embeddings(), model.get_output_embeddings()):  # type: ignore[operator]
            rows.weight.copy_(rows.weight.half())


@pytest.fixture
def folder(tmp_path: Path, of_kind: Make) -> Callable[..., Path]:
    """Make a teacher's or a student's folder with a tokenizer of a kind."""

    def make(kind: str, *, student: bool, bos: bool = True) -> Path:
        tokenizer, target = of_kind(kind, bos=bos), tmp_path / f"{kind}-{student}"
        torch.manual_seed(3)
        ids = {"vocab_size": len(tokenizer), "bos_token_id": 1, "eos_token_id": 2}
        model: torch.nn.Module
        if student:
            config = GooseConfig(**SHAPE, **ids, num_attention_heads=2, head_size=16)
            model = GooseForCausalLM(config)
        else:
            model = LlamaForCausalLM(
                LlamaConfig(**SHAPE, **ids, num_attention_heads=2, num_key_value_heads=1)
            )
        lively(model)
        model.save_pretrained(target)  # type: ignore[operator]
        tokenizer.save_pretrained(target)
        if student:
            lossless = PackSettings(dense="f32", low_rank="f32", head="f16")
            export_packed(model, target / "packed", settings=lossless, tokenizer=target)  # type: ignore[arg-type]
        return target

    return make


def by_transformers(folder: Path, prompt: str, *, tokens: int) -> tuple[list[int], str]:
    """Greedy continuation: ids up to the end, and the text that they add to the prompt."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    ids = tokenizer(prompt, return_tensors="pt").input_ids
    ids = ids if ids.numel() else torch.tensor([[tokenizer.bos_token_id]])
    drawn = model.generate(ids.long(), do_sample=False, max_new_tokens=tokens, pad_token_id=2)
    found = drawn[0, ids.shape[1] :].tolist()
    found = found[: found.index(2)] if 2 in found else found
    return found, tokenizer.decode(found, skip_special_tokens=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize(
    ("student", "engine"), [(False, "torch"), (True, "torch"), (True, "native")]
)
def test_greedy_text_is_that_of_transformers(
    folder: Callable[..., Path], kind: str, prompt: str, student: bool, engine: str
) -> None:
    place = folder(kind, student=student)
    wanted, text = by_transformers(place, prompt, tokens=24)
    loaded = load_engine(str(place / "packed")) if engine == "native" else load_torch(str(place))
    ids = loaded.vocabulary.prompt_ids(prompt)
    assert ids == (AutoTokenizer.from_pretrained(place)(prompt).input_ids or [1])
    drawn = []
    for token in loaded.draw(ids, tokens=24, sampling=Sampling(greedy=True), seed=None):
        if token in loaded.vocabulary.ends:
            break
        drawn.append(token)
    assert drawn == wanted
    printed = "".join(loaded.vocabulary.pieces(ids, drawn))
    assert printed.lstrip(" ") == text.lstrip(" ")


def run(*words: str, stdin: str | bytes | None = None) -> str:
    result = CliRunner().invoke(app, ["generate", *words], input=stdin)
    assert result.exit_code == 0, result.output
    return result.stdout


def drawn_by(place: Path, prompt: str, engine: str) -> list[int]:
    """Greedy tokens of a student up to its end, as `generate` draws them."""
    loaded = source_of(str(place), engine=engine, tell=print)
    ids, ends = loaded.vocabulary.prompt_ids(prompt), loaded.vocabulary.ends
    drawn = loaded.draw(ids, tokens=12, sampling=Sampling(greedy=True), seed=None)
    return list(takewhile(lambda token: token not in ends, drawn))


@pytest.mark.parametrize("engine", ["torch", "native"])
@pytest.mark.parametrize("bos", [True, False])
def test_an_empty_prompt_begins_as_the_model_does(
    folder: Callable[..., Path], engine: str, bos: bool
) -> None:
    place = folder("byte_level", student=True, bos=bos)
    shutil.rmtree(place / "packed")
    drawn = drawn_by(place, "<s>" if not bos else "", engine)
    text = AutoTokenizer.from_pretrained(place).decode(drawn)
    words = (str(place), "", "--greedy", "--tokens", "12", "--engine", engine)
    assert run(*words) == text + "\n"


@pytest.mark.parametrize("engine", ["torch", "native"])
@pytest.mark.parametrize("source", ["config.json", "generation_config.json", "tokenizer"])
def test_a_text_ends_where_any_file_says(
    folder: Callable[..., Path], engine: str, source: str
) -> None:
    place = folder("byte_level", student=True)
    shutil.rmtree(place / "packed")
    words = (str(place), "the", "--greedy", "--tokens", "12", "--engine", engine)
    drawn = drawn_by(place, "the", engine)
    end = next(token for token in drawn[2:] if token not in drawn[:2])
    tokenizer = AutoTokenizer.from_pretrained(place)
    kept = tokenizer.decode(drawn[: drawn.index(end)])
    if source == "tokenizer":
        tokenizer.eos_token = tokenizer.convert_ids_to_tokens(end)
        tokenizer.save_pretrained(place)
    else:
        (table := json.loads((place / source).read_text())).update(eos_token_id=[1, end])
        (place / source).write_text(json.dumps(table))
    assert run(*words) == f"the{kept}\n"


@pytest.mark.parametrize("engine", ["torch", "native"])
def test_stop_strings_may_hold_special_tokens(
    folder: Callable[..., Path], engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = folder("byte_level", student=True)
    said = AutoTokenizer.from_pretrained(place)("ab</s>cd", add_special_tokens=False).input_ids
    for kind in (EngineModel, TorchModel):
        monkeypatch.setattr(kind, "draw", lambda *_, **__: iter(said))
    words = (str(place), "the ", "--engine", engine, "--keep-going")
    assert run(*words) == "the abcd\n"
    assert run(*words, "--stop", "</s>") == "the ab\n"
    assert run(*words, "--stop", "b</s>c") == "the a\n"
    assert run(*words, "--stop", "<unk>") == "the abcd\n"


@pytest.mark.parametrize("engine", ["torch", "native"])
def test_a_tokenizer_that_cuts_and_pads_does_neither(
    folder: Callable[..., Path], engine: str
) -> None:
    place, prompt = folder("byte_level", student=True), "the goose is here"
    words = (str(place), prompt, "--greedy", "--tokens", "12", "--engine", engine)
    wanted = run(*words)
    core = Tokenizer.from_file(str(place / "tokenizer.json"))
    core.enable_truncation(4)
    core.enable_padding(length=40)
    core.save(str(place / "tokenizer.json"))
    shutil.copy(place / "tokenizer.json", place / "packed" / "tokenizer.json")
    assert run(*words) == wanted


def test_what_is_no_utf8_is_refused(folder: Callable[..., Path]) -> None:
    place = folder("byte_level", student=True)
    for engine in ("torch", "native"):
        words = ["generate", str(place), "ab\udce6", "--engine", engine]
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 2
        assert "is no UTF-8: byte 0xe6 after 2 characters" in result.stderr
