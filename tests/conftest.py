"""What tests of several rooms need: a tokenizer of bytes and a little text."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

from asnn_goose.data.corpora import CORPORA
from asnn_goose.sources import SourceError

KINDS = Path(__file__).with_name("tokenizer_kinds.py")


@pytest.fixture(scope="session")
def of_kind() -> Callable[..., PreTrainedTokenizerFast]:
    """Make a tokenizer of a kind of tokenizer_kinds.py; without `bos` it puts no <s> in front."""
    spec = importlib.util.spec_from_file_location("tokenizer_kinds", KINDS)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    make: Callable[..., PreTrainedTokenizerFast] = module.make_kind
    return make


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """Every byte is one token; the last one separates documents."""
    # Not at the top: what needs no torch is tested in a second.
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: number for number, letter in enumerate([*letters, "<|endoftext|>"])}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|endoftext|>")


@pytest.fixture
def text_file(tmp_path: Path) -> Path:
    file = tmp_path / "words.txt"
    file.write_text("A goose flew north, and naïve it was. " * 30, encoding="utf-8")
    return file


class Refused:
    """A package that no test may fetch."""

    def fetch(self) -> Path:
        raise SourceError("tests fetch nothing")

    def found_version(self) -> str:
        raise SourceError("tests fetch nothing")


@pytest.fixture(autouse=True)
def _no_packages(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """No test fetches a corpus, but for those that are marked `network`."""
    if not request.node.get_closest_marker("network"):
        for name, corpus in CORPORA.items():
            monkeypatch.setitem(CORPORA, name, replace(corpus, packages=(Refused(),)))
