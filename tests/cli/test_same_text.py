"""What a model says is what Transformers says it says, whatever its tokenizer."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import cache
from itertools import product, takewhile
from pathlib import Path

import numpy as np
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

from asnn_goose.chat_template import ChatTemplate
from asnn_goose.cli import app
from asnn_goose.data.shards import shard
from asnn_goose.data.windows import eval_windows
from asnn_goose.export.packed import PackSettings, export_packed
from asnn_goose.infer.conversation import Conversation
from asnn_goose.infer.sampler import Sampling
from asnn_goose.infer.text import read_vocabulary
from asnn_goose.model import GooseConfig, GooseForCausalLM
from asnn_goose.subject.engine_model import EngineModel, load_engine
from asnn_goose.subject.source import source_of
from asnn_goose.subject.torch_model import TorchModel, load_torch

Make = Callable[..., PreTrainedTokenizerFast]
KINDS = [
    "byte_fallback", "sentencepiece", "byte_level", "unigram_bytes", "word_piece", "word_level"
]  # fmt: skip
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


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, of_kind: Make) -> Callable[..., Path]:
    """The folder of a teacher or a student with a tokenizer of a kind; it is to stay as it is."""

    @cache
    def make(kind: str, *, student: bool, bos: bool = True, eos: bool = False) -> Path:
        tokenizer, target = of_kind(kind, bos=bos, eos=eos), tmp_path_factory.mktemp(kind)
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


@pytest.fixture
def folder(tmp_path: Path, made: Callable[..., Path]) -> Callable[..., Path]:
    """The same, to be changed."""

    def make(kind: str, **settings: bool) -> Path:
        return Path(shutil.copytree(made(kind, **settings), tmp_path / kind))

    return make


def not_in(ends: frozenset[int]) -> Callable[[int], bool]:
    return lambda token: token not in ends


def continued(
    model: torch.nn.Module, tokenizer: PreTrainedTokenizerFast, prompt: str
) -> tuple[list[int], list[int], str]:
    """Transformers' ids of a prompt, those that go on with it up to an end, and their text."""
    ids = tokenizer(prompt)["input_ids"] or [1]
    drawn = model.generate(  # type: ignore[operator]
        torch.tensor([ids]), do_sample=False, max_new_tokens=24, pad_token_id=2
    )
    found = list(takewhile(lambda token: token != 2, drawn[0, len(ids) :].tolist()))
    return ids, found, tokenizer.decode(found, skip_special_tokens=True)


@pytest.mark.parametrize("student", [False, True])
@pytest.mark.parametrize(("kind", "eos"), [*((kind, False) for kind in KINDS), (KINDS[0], True)])
def test_greedy_text_is_that_of_transformers(
    made: Callable[..., Path], kind: str, student: bool, eos: bool
) -> None:
    place = made(kind, student=student, eos=eos)
    model, tokenizer = (
        Auto.from_pretrained(place) for Auto in (AutoModelForCausalLM, AutoTokenizer)
    )
    engines = [load_torch(str(place))]
    engines += [load_engine(str(place / "packed"))] if student else []  # type: ignore[list-item]
    for prompt, loaded in product(PROMPTS, engines):
        wanted_ids, wanted, text = continued(model, tokenizer, prompt)
        ids = loaded.vocabulary.prompt_ids(prompt)
        assert ids == wanted_ids
        drawing = loaded.draw(ids, tokens=24, sampling=Sampling(greedy=True), seed=None)
        drawn = list(takewhile(not_in(loaded.vocabulary.ends), drawing))
        assert drawn == wanted
        printed = "".join(loaded.vocabulary.pieces(ids, drawn))
        # What was said before goes on; Transformers decodes the rest as if it began a text.
        found, wanted_text = (said.lstrip(" ").removeprefix("##") for said in (printed, text))
        assert found == wanted_text


@pytest.mark.parametrize("eos", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_texts_are_read_as_by_transformers(
    of_kind: Make, tmp_path: Path, kind: str, eos: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of training and of evaluation: a separator stands in place of an end, and once."""
    monkeypatch.setenv("ASNN_GOOSE_CACHE", str(tmp_path / "cache"))
    tokenizer, file = of_kind(kind, eos=eos), tmp_path / "own.jsonl"
    texts = ["the goose is here", "naïve 雪", "日本語", "The goose, a goose."]
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), "utf-8")
    wanted = [tokenizer(text)["input_ids"] + [2] * (not eos) for text in texts]
    assert wanted[0][0] == 1
    found = shard(file, "all", tokenizer).tokens_N
    assert found.tolist() == [number for ids in wanted for number in ids]
    [(inputs, labels)] = eval_windows(found, window=4096)
    assert [*inputs[0].tolist(), int(labels[0, -1])] == found.tolist()


TALK = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}A:{% endif %}"
)


class Reader:
    """An engine that notes what it reads."""

    def start(self) -> list[int]:
        return []

    def prefill(self, state: list[int], ids: list[int], **_: float) -> np.ndarray:
        state += ids
        return np.zeros(1, np.float32)


class Says:
    """A drawer that has its tokens given."""

    sampling = Sampling(greedy=True)

    def __init__(self, tokens: list[int]) -> None:
        self.tokens = tokens

    def see(self, ids: list[int]) -> None:
        pass

    def draw(self, logits_V: np.ndarray) -> int:
        return self.tokens.pop(0)


@pytest.mark.parametrize("eos", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_chat_is_read_as_by_transformers(
    of_kind: Make, tmp_path: Path, kind: str, eos: bool
) -> None:
    tokenizer = of_kind(kind, eos=eos)
    tokenizer.chat_template = TALK
    tokenizer.save_pretrained(tmp_path)
    reader, vocabulary = Reader(), read_vocabulary(tmp_path, {})
    says = Says([*tokenizer(" a goose", add_special_tokens=False)["input_ids"], 2, 2])
    answer = tokenizer.decode(says.tokens[:-2])
    talk = Conversation(reader, vocabulary, ChatTemplate(TALK), drawer=says)  # type: ignore[arg-type]
    list(talk.answer("the goose is naïve", limit=9))
    read = tokenizer.apply_chat_template(talk.messages[:1], add_generation_prompt=True)["input_ids"]
    assert talk._state[: len(read)] == read  # type: ignore[index]
    assert talk.messages[1]["content"].strip() == answer.strip()
    list(talk.answer("the goose", limit=9))
    whole = tokenizer.apply_chat_template(talk.messages[:3], add_generation_prompt=True)[
        "input_ids"
    ]
    assert tokenizer.decode(talk._state) == tokenizer.decode(whole)  # type: ignore[arg-type]


def run(*words: str, stdin: str | bytes | None = None) -> str:
    result = CliRunner().invoke(app, ["generate", *words], input=stdin)
    assert result.exit_code == 0, result.output
    return result.stdout


def drawn_by(place: Path, prompt: str, engine: str) -> list[int]:
    """Greedy tokens of a student up to its end, as `generate` draws them."""
    loaded = source_of(str(place), engine=engine, tell=print)
    ids, ends = loaded.vocabulary.prompt_ids(prompt), loaded.vocabulary.ends
    drawn = loaded.draw(ids, tokens=12, sampling=Sampling(greedy=True), seed=None)
    return list(takewhile(not_in(ends), drawn))


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
