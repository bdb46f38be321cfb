"""The table of corpora, and fetching one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from asnn_goose.cli import app
from asnn_goose.data.corpora import CORPORA
from asnn_goose.data.document import Document


@pytest.fixture
def _small_sotu(monkeypatch: pytest.MonkeyPatch) -> None:
    def read() -> Iterator[Document]:
        for year in range(1800, 1900):
            yield Document(id=f"{year}", group=f"{year}", text=f"The state of {year} is good.")

    monkeypatch.setitem(CORPORA, "sotu", replace(CORPORA["sotu"], read=read))


def test_show_lists_every_corpus_with_its_licence(runner: CliRunner) -> None:
    result = runner.invoke(app, ["data", "show"])
    assert result.exit_code == 0, result.output
    for corpus in CORPORA.values():
        assert corpus.name in result.stdout
        assert corpus.licence in result.stdout
        assert corpus.source in result.stdout
    assert "not tokenised" in result.stdout


def test_only_evaluated_corpora_have_one_split(runner: CliRunner) -> None:
    result = runner.invoke(app, ["data", "show", "austen"])
    assert "austen  test" in result.stdout
    assert "train" not in result.stdout


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
    shown = runner.invoke(app, ["data", "show", "sotu"]).stdout
    assert "not tokenised" not in shown
    # One byte is one token here, and one more ends each of the documents.
    assert f"{documents[0] * (len('The state of 1800 is good.') + 1):,}" in shown


def test_unknown_names_and_files_are_refused(runner: CliRunner, text_file: Path) -> None:
    unknown = runner.invoke(app, ["data", "show", "sotuu"])
    assert unknown.exit_code == 2
    assert "did you mean 'sotu'" in unknown.stderr
    assert runner.invoke(app, ["data", "fetch", str(text_file)]).exit_code == 2
