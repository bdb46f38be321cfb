"""A cache of its own for every test, and a tokenizer with one token per byte."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from asnn_goose.data.corpora import Corpus
from asnn_goose.data.document import Document
from asnn_goose.data.shards import Shard, ShardMeta

MakeShard = Callable[..., Shard]


@dataclass(frozen=True)
class Folder:
    """A package that lies on the disk already."""

    path: Path
    version: str = "1"

    def fetch(self) -> Path:
        return self.path

    def found_version(self) -> str:
        return self.version


@pytest.fixture
def make_corpus(tmp_path: Path) -> Callable[..., Corpus]:
    """A corpus of documents in memory; fields may be set."""

    def make(name: str, documents: Iterable[Document], **fields: Any) -> Corpus:
        kept = list(documents)
        settings: dict[str, Any] = {
            "kind": "essay",
            "licence": "free",
            "source": "here",
            "group": "none",
            "packages": (Folder(tmp_path),),
            "read": lambda _place: iter(kept),
            "megabytes": 1.0,
            "tidied": False,
        }
        return Corpus(name=name, **settings | fields)

    return make


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "network: may fetch a package on its first run")


@pytest.fixture(autouse=True)
def cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Path | None:
    """A new cache, but for tests of the real corpora, which are to be fetched once."""
    if request.node.get_closest_marker("network"):
        return None
    monkeypatch.setenv("ASNN_GOOSE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def byte_tokenizer(**special: str) -> PreTrainedTokenizerFast:
    """Ids 0 to 255 are bytes in the order of the byte-level alphabet; specials come after."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {character: number for number, character in enumerate(alphabet)}
    backend = Tokenizer(models.BPE(vocabulary, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=backend, **special)


@pytest.fixture
def make_tokenizer() -> Callable[..., PreTrainedTokenizerFast]:
    return byte_tokenizer


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    return byte_tokenizer(eos_token="<|endoftext|>")


@pytest.fixture
def make_shard() -> MakeShard:
    """A shard in memory whose tokens count up from `first`, with documents of `length` tokens."""

    def make(tokens: int, *, first: int = 0, length: int = 10) -> Shard:
        starts = np.arange(0, tokens, length)
        meta = ShardMeta(
            name="counting",
            version="0",
            split="train",
            tokenizer="none",
            separator=0,
            dtype="uint16",
            documents=len(starts),
            tokens=tokens,
            bytes=tokens,
        )
        ids = np.arange(first, first + tokens, dtype=np.uint16)
        return Shard(tokens_N=ids, starts=starts, meta=meta)

    return make
