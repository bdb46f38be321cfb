"""Data sets on the Hub, with stand-ins for the `datasets` library and the Hub: no network."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import huggingface_hub
import pytest
from transformers import PreTrainedTokenizerFast

from asnn_goose.data.corpora import documents, find_corpus
from asnn_goose.data.document import DataError
from asnn_goose.data.hub import HubText, commit_of, hub_text
from asnn_goose.data.shards import shard
from asnn_goose.sources import SourceError

ROWS = [{"text": f"text number {n}", "url": f"u{n}", "n": n} for n in range(2_000)]
NAME = "hf:owner/name/small?tokens=3_000&split=dev&revision=v1"
COMMIT = "a" * 40


class Hub:
    """What was asked of it, and how many rows were read."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows, self.read = rows, 0
        self.loads: list[tuple[Any, ...]] = []
        self.questions: list[tuple[str, str]] = []
        self.fault: Exception | None = None

    def load_dataset(
        self, path: str, name: str | None, *, split: str, revision: str, streaming: bool
    ) -> Iterator[dict[str, Any]]:
        self.loads.append((path, name, split, revision, streaming))
        return self._stream()

    def _stream(self) -> Iterator[dict[str, Any]]:
        for row in self.rows:
            self.read += 1
            yield row

    def dataset_info(self, repository: str, *, revision: str) -> Any:
        if self.fault:
            raise self.fault
        self.questions.append((repository, revision))
        return type("Info", (), {"sha": COMMIT})


@pytest.fixture
def make_hub(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Hub]:
    def make(rows: list[dict[str, Any]] = ROWS) -> Hub:
        hub = Hub(rows)
        library = ModuleType("datasets")
        library.load_dataset = hub.load_dataset  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "datasets", library)
        monkeypatch.setattr(huggingface_hub, "HfApi", lambda: hub)
        return hub

    return make


def test_name_says_what_is_read() -> None:
    assert hub_text(NAME) == HubText(
        repository="owner/name", tokens=3_000, config="small", split="dev", revision="v1"
    )
    assert hub_text("hf:o/n?tokens=5&column=body") == HubText(
        repository="o/n", tokens=5, column="body"
    )
    assert find_corpus(NAME) is None


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("hf:name?tokens=5", r"'hf:name\?tokens=5': wanted hf:owner/name"),
        ("hf:o/n/c/d?tokens=5", "wanted hf:owner/name"),
        ("hf:o/n", "'hf:o/n': tokens is missing: a stream needs a limit, such as tokens=10_000_"),
        ("hf:o/n?tokens=0", "tokens = 0: must be a whole number above 0"),
        ("hf:o/n?tokens=1e6", "tokens = 1e6: must be a whole number above 0"),
        ("hf:o/n?tokens=5&colum=x", "no setting 'colum'; known are tokens, split, column, rev"),
        ("hf:o/n?tokens=5&column=", "column is empty"),
    ],
)
def test_wrong_name_is_refused_when_a_recipe_is_read(name: str, fault: str) -> None:
    with pytest.raises(DataError, match=fault):
        find_corpus(name)


def test_stream_is_dealt_out_to_the_splits(make_hub: Callable[..., Hub]) -> None:
    hub = make_hub()
    parts = [list(documents(NAME, part)) for part in ("train", "validation", "test")]
    assert sorted(d.text for part in parts for d in part) == sorted(r["text"] for r in ROWS)
    assert all(parts)
    assert hub.loads == [("owner/name", "small", "dev", COMMIT, True)] * 3
    assert hub.questions == [("owner/name", "v1")]


def test_shard_stops_at_its_share_of_the_limit(
    make_hub: Callable[..., Hub], tokenizer: PreTrainedTokenizerFast
) -> None:
    hub = make_hub()
    longest = max(len(row["text"]) for row in ROWS) + 1
    read = []
    for part, limit in (("train", 2_700), ("validation", 150), ("test", 150), ("all", 3_000)):
        hub.read = 0
        made = shard(NAME, part, tokenizer)  # type: ignore[arg-type]
        assert limit <= made.meta.tokens < limit + longest
        assert len(made.starts) == made.meta.documents
        read.append(hub.read)
    assert max(read) < len(ROWS)


def test_shard_records_the_commit_and_is_made_once(
    make_hub: Callable[..., Hub], tokenizer: PreTrainedTokenizerFast
) -> None:
    hub = make_hub()
    made = shard(NAME, "train", tokenizer)
    assert (made.meta.name, made.meta.version) == ("owner/name", f"{COMMIT}/small/dev//3000")
    hub.fault = ConnectionError("no network")
    assert shard(NAME, "train", tokenizer).meta == made.meta
    assert len(hub.loads) == 1
    other = shard(NAME + "&column=url", "train", tokenizer)
    assert other.meta.version == f"{COMMIT}/small/dev/url/3000"


def test_commit_that_is_given_is_not_asked_for(make_hub: Callable[..., Hub]) -> None:
    hub = make_hub()
    commit = "0123456789" * 4
    assert commit_of(hub_text(f"hf:o/n?tokens=5&revision={commit}")) == commit
    assert hub.questions == []


def test_hub_that_does_not_answer_is_named(make_hub: Callable[..., Hub]) -> None:
    hub = make_hub()
    hub.fault = huggingface_hub.errors.HTTPError("timed out")
    with pytest.raises(SourceError, match=r"data set owner/name .*revision v1.*timed out"):
        list(documents(NAME))


def test_row_that_is_no_text_is_named(make_hub: Callable[..., Hub]) -> None:
    make_hub([{"text": "one"}, {"text": 5}])
    with pytest.raises(DataError, match="owner/name, row 1: column 'text' is to be text, found 5"):
        list(documents(NAME, "all"))
    make_hub([{"a": "one", "b": "two"}])
    with pytest.raises(DataError, match="owner/name, row 0: 2 columns of strings"):
        list(documents(NAME, "all"))
    make_hub([])
    with pytest.raises(DataError, match="owner/name has no rows with text"):
        list(documents(NAME, "all"))
