"""Parquet files: the column is chosen by name or because no other could be meant."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from asnn_goose.data import tables
from asnn_goose.data.corpora import documents
from asnn_goose.data.document import DataError
from asnn_goose.data.own_text import read_own
from asnn_goose.data.shards import shard
from asnn_goose.data.tables import needed, text_column

MakeFile = Callable[..., Path]


@pytest.fixture
def make_file(tmp_path: Path) -> MakeFile:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")

    def make(**columns: list[Any]) -> Path:
        file = tmp_path / "own.parquet"
        parquet.write_table(pyarrow.table(columns), file)
        return file

    return make


@pytest.mark.parametrize(
    ("strings", "key", "chosen"),
    [
        (["body"], None, "body"),
        (["text", "url"], None, "text"),
        (["text", "url"], "url", "url"),
    ],
)
def test_column_is_named_or_the_only_one(strings: list[str], key: str | None, chosen: str) -> None:
    assert text_column(strings, [*strings, "id"], key, place="here") == chosen


@pytest.mark.parametrize(
    ("strings", "key", "fault"),
    [
        (["a", "b"], None, "here: 2 columns of strings, name the one to read; found 'a', 'b', 'n'"),
        ([], None, "here: 0 columns of strings, .*found 'n'"),
        (["a"], "b", "here: no column 'b', found 'a', 'n'"),
        (["a"], "n", "here: column 'n' is not text"),
    ],
)
def test_column_that_cannot_be_told_is_named(
    strings: list[str], key: str | None, fault: str
) -> None:
    with pytest.raises(DataError, match=fault):
        text_column(strings, [*strings, "n"], key, place="here")


def test_rows_are_dealt_out_once_each(make_file: MakeFile) -> None:
    texts = [f"text number {n}" for n in range(600)]
    file = make_file(body=texts, n=list(range(600)))
    parts = [list(read_own(file, part)) for part in ("train", "validation", "test")]
    assert sorted(d.text for part in parts for d in part) == sorted(texts)
    assert all(parts)
    assert [d.text for d in documents(file, "all")] == texts
    assert next(documents(file, "all")).id == "own.parquet:1"


def test_rows_without_text_are_left_out(make_file: MakeFile) -> None:
    file = make_file(text=["one", None, "  ", "two"], url=["a", "b", "c", "d"])
    assert [d.text for d in read_own(file, "all")] == ["one", "two"]
    with pytest.raises(DataError, match=r"own\.parquet is empty: wanted rows"):
        list(read_own(make_file(text=["", None]), "all"))


def test_file_becomes_a_shard(make_file: MakeFile, tokenizer: PreTrainedTokenizerFast) -> None:
    file = make_file(text=["one", "two"], other=["three", "four"])
    made = shard(file, "all", tokenizer)
    assert (made.meta.name, made.meta.documents) == ("own.parquet", 2)
    assert tokenizer.decode(np.asarray(made.tokens_N[:3], np.int64).tolist()) == "one"


def test_file_that_is_no_parquet_is_named(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow.parquet")
    file = tmp_path / "own.parquet"
    file.write_text("text")
    with pytest.raises(DataError, match=r"own\.parquet cannot be read as parquet"):
        list(read_own(file, "all"))


def test_missing_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(module: str) -> None:
        raise ModuleNotFoundError(f"No module named {module!r}", name="pyarrow")

    monkeypatch.setattr(tables, "import_module", absent)
    with pytest.raises(DataError, match=r"x\.parquet needs pyarrow: pip install pyarrow"):
        needed("pyarrow.parquet", wanted="x.parquet")
