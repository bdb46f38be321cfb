"""The table of corpora, and fetching some."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from asnn_goose.cli import app
from asnn_goose.data import prepare
from asnn_goose.data.corpora import CORPORA
from asnn_goose.data.document import Document


@dataclass(frozen=True)
class Years:
    """A package of one sentence a year."""

    def fetch(self) -> Path:
        return Path("years")

    def found_version(self) -> str:
        return "1.2-3"


@pytest.fixture
def _small_sotu(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(_place: Path) -> Iterator[Document]:
        for year in range(1800, 1900):
            yield Document(id=f"{year}", group=f"{year}", text=f"The state of {year} is good.")

    small = replace(CORPORA["sotu"], read=read, packages=(Years(),))
    monkeypatch.setitem(CORPORA, "sotu", small)

    # A process of its own would not know of the small corpus.
    class Here:
        def submit(self, work: object, *arguments: object) -> object:
            future: Future[object] = Future()
            future.set_result(work(*arguments))  # type: ignore[operator]
            return future

    @contextmanager
    def pool(_count: int) -> Iterator[Here]:
        yield Here()

    monkeypatch.setattr(prepare, "_pool", pool)


def test_show_lists_every_corpus_with_its_licence_and_share(
    runner: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    result = runner.invoke(app, ["data", "show"])
    assert result.exit_code == 0, result.output
    rows = {line.split()[0]: line for line in result.stdout.splitlines() if line}
    for corpus in CORPORA.values():
        row = rows[corpus.name]
        assert corpus.kind in row
        assert corpus.licence in row
        assert f"~{corpus.megabytes:.2f}" in row
        assert "not tokenised" in row
        assert (f" {corpus.broad:g} " in row) or not corpus.broad
    assert 'data.train = ["broad"]' in result.stdout


def test_named_corpora_are_told_of_in_full(runner: CliRunner) -> None:
    shown = runner.invoke(app, ["data", "show", "austen"]).stdout
    assert CORPORA["austen"].source in shown
    assert "split by novel; not fetched" in shown
    assert "sotu" not in shown


def test_broad_shows_its_corpora(runner: CliRunner) -> None:
    shown = runner.invoke(app, ["data", "show", "broad"]).stdout
    named = {line.split()[0] for line in shown.splitlines() if line}
    assert {c.name for c in CORPORA.values() if c.broad} <= named
    assert "austen" not in named


@pytest.mark.usefixtures("_small_sotu")
def test_fetch_tokenises_and_show_counts(runner: CliRunner, teacher_dir: Path) -> None:
    fetched = runner.invoke(app, ["data", "fetch", "sotu", "--teacher", str(teacher_dir)])
    assert fetched.exit_code == 0, fetched.output
    lines = fetched.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "sotu train",
        "sotu validation",
        "sotu test",
    ]
    documents = [int(line.split()[2]) for line in lines]
    assert sum(documents) == 100
    assert "0 s left" in fetched.stderr
    shown = runner.invoke(app, ["data", "show", "sotu"]).stdout
    assert "not tokenised" not in shown
    assert "version 1.2-3, SHA-256" in shown
    # One byte is one token here, and one more ends each of the documents.
    size = len("The state of 1800 is good.") + 1
    assert f"train: {documents[0]} documents" in shown
    assert f"{documents[0] * size:,} tokens" in shown
    assert f"{100 * size:,}" in shown
    again = runner.invoke(app, ["data", "fetch", "sotu", "--teacher", str(teacher_dir)])
    assert again.stdout == fetched.stdout
    assert again.stderr == ""


def test_unknown_names_and_files_are_refused(runner: CliRunner, text_file: Path) -> None:
    unknown = runner.invoke(app, ["data", "show", "sotuu"])
    assert unknown.exit_code == 2
    assert "did you mean 'sotu'" in unknown.stderr
    assert runner.invoke(app, ["data", "fetch", str(text_file)]).exit_code == 2
