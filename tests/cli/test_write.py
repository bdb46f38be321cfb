"""`teacher write`: from a teacher to a file that a recipe trains on."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from asnn_goose.cli import app
from asnn_goose.cli.progress import TimeLeft, TokenLines, drawing


@pytest.fixture
def verb(teacher_dir: Path, long_text_file: Path, tmp_path: Path) -> list[str]:
    settings = ["--tokens", "1k", "--window", "32", "--text", str(long_text_file)]
    return ["teacher", "write", str(teacher_dir), *settings, "--out", str(tmp_path / "own.jsonl")]


def refusal(runner: CliRunner, *words: str) -> str:
    result = runner.invoke(app, [*words])
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    return result.stderr


def test_a_recipe_trains_on_the_file(
    runner: CliRunner, verb: list[str], recipe_file: Path, tmp_path: Path
) -> None:
    written = runner.invoke(app, verb)
    assert written.exit_code == 0, written.output
    file = tmp_path / "own.jsonl"
    assert f"wrote {file}: 1," in written.stdout
    assert "tokens/s" in written.stdout
    records = list(map(json.loads, file.read_text(encoding="utf-8").split("\n")[:-1]))
    kept = [record for record in records if "dropped" not in record]
    assert all(set(record) == {"text", "kind"} for record in kept)
    told = f"{len(kept)} of {len(records)} texts kept ({len(kept)} passage);"
    assert f"{told} {len(records) - len(kept)} dropped" in written.stdout
    settings = ["seed=4", f"data.train=['{file}']", "stage.1.losses=[{name='ce'}]"]
    words = [word for setting in settings for word in ("--set", setting)]
    out = tmp_path / "run"
    trained = runner.invoke(app, ["distill", str(recipe_file), *words, "--out", str(out)])
    assert trained.exit_code == 0, trained.output
    assert f"reading {file}" in trained.stdout


def test_a_rehearsal_writes_nothing(runner: CliRunner, verb: list[str], tmp_path: Path) -> None:
    words = ["--kind", "passage,temperature=0.5", "--kind", "opening,share=3", "--dry-run"]
    told = runner.invoke(app, [*verb, *words])
    assert told.exit_code == 0, told.output
    assert "passage: after " in told.stdout
    assert "opening: after " in told.stdout
    assert "1,000 tokens in " in told.stdout
    assert not list(tmp_path.glob("*own*"))


def test_a_run_finds_the_words_that_were_kept(
    runner: CliRunner, verb: list[str], recipe_file: Path, tmp_path: Path
) -> None:
    written = runner.invoke(app, [*verb, "--logits", "16", "--top", "8"])
    assert written.exit_code == 0, written.output
    assert "cached for windows of 16" in written.stdout
    settings = [
        f"data.train=['{tmp_path / 'own.jsonl'}']", "data.windows=fixed", "stage.1.window=16",
        "teacher.0.cache.top=8", "stage.1.tokens=512",
    ]  # fmt: skip
    words = [word for setting in settings for word in ("--set", setting)]
    told = runner.invoke(app, ["teacher", "cache", str(recipe_file), *words])
    assert told.exit_code == 0, told.output
    assert "distill: 512 tokens, of which 512 were there before" in told.stdout


def test_what_is_there_is_left_alone(runner: CliRunner, verb: list[str], tmp_path: Path) -> None:
    assert runner.invoke(app, [*verb, "--quiet"]).exit_code == 0
    before = (tmp_path / "own.jsonl").read_bytes()
    assert "own.jsonl exists: resume it" in refusal(runner, *verb)
    assert "seed was 0" in refusal(runner, *verb, "--resume", "--seed", "1")
    again = runner.invoke(app, [*verb, "--resume"])
    assert again.exit_code == 0
    assert "is complete" in again.stdout
    assert (tmp_path / "own.jsonl").read_bytes() == before


def test_ctrl_c_keeps_what_is_written(
    runner: CliRunner, verb: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: TokenLines, tokens: int) -> None:
        if tokens:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TokenLines, "advance", interrupted)
        stopped = runner.invoke(app, verb)
    assert stopped.exit_code == 130
    assert "go on with --resume" in stopped.stdout
    assert not (tmp_path / "own.jsonl").exists()
    assert "resume it" in refusal(runner, *verb)
    resumed = runner.invoke(app, [*verb, "--resume"])
    assert resumed.exit_code == 0, resumed.output
    assert "writing  0 of" not in resumed.stdout
    assert (tmp_path / "own.jsonl").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--kind", "tittle"], "did you mean 'title'"),
        (["--kind", "title,shares=2"], "'shares' is no setting; did you mean 'share'"),
        (["--kind", "title,share=two"], "share = 'two' is no number"),
        (["--temperature", "0"], "temperature = 0.0: must be above 0"),
        (["--top-p", "2"], "top_p = 2.0: must be above 0 and at most 1"),
        (["--window", "8"], "window = 8: must be above prompt_tokens = 8"),
        (["--text", "sotuu"], "did you mean 'sotu'"),
        (["--text", "no/such.txt"], "no/such.txt"),
        (["--out", "own.txt"], "out = own.txt: must end in .jsonl"),
        (["--resume"], "nothing to resume"),
        (["--tokens", "1.5"], "no whole number"),
    ],
)
def test_bad_input_is_one_message(
    runner: CliRunner, verb: list[str], words: list[str], said: str, tmp_path: Path
) -> None:
    assert said in refusal(runner, *verb, *words)
    assert not list(tmp_path.glob("*own*"))


def test_a_student_writes_nothing(runner: CliRunner, verb: list[str], student_dir: Path) -> None:
    verb[2] = str(student_dir)
    assert "family 'asnn_goose', which is not supported" in refusal(runner, *verb)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_rate_and_time_left_are_those_of_this_sitting() -> None:
    clock = Clock()
    pace = TimeLeft(1000, clock=clock)
    assert pace.details(400) == "400 of 1,000 tokens"
    clock.now += 4
    assert pace.details(500) == "500 of 1,000 tokens  25 tokens/s  20 s left"
    clock.now += 16
    assert pace.details(1010) == "1,010 of 1,000 tokens  30 tokens/s  0 s left"


def test_lines_come_at_first_at_the_end_and_now_and_then() -> None:
    clock, written = Clock(), StringIO()
    lines = TokenLines(Console(file=written, width=100), TimeLeft(100, clock=clock))
    for seconds, tokens in ((0, 0), (1, 10), (25, 20), (1, 30), (1, 100)):
        clock.now += seconds
        lines.advance(tokens)
    starts = [line.split(" of ")[0] for line in written.getvalue().splitlines()]
    assert starts == ["writing  0", "writing  20", "writing  100"]


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    console = Console(file=StringIO(), force_terminal=True, width=100)
    with drawing(console, 100, quiet=False) as advance:
        advance(0)
        advance(60)
    assert isinstance(console.file, StringIO)
    assert "60 of 100 tokens" in console.file.getvalue()
