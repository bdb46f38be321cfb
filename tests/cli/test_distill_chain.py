"""`distill A B`: links that go on from one another, resumed, dry, stopped and refused."""

from __future__ import annotations

import os
import shlex
import signal
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from asnn_goose.cli import app
from asnn_goose.cli.progress import StepLines
from asnn_goose.recipe import run as recipe_run
from asnn_goose.train.progress import StepInfo


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all tests: their texts are the same, and need not be tokenised again."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _own_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASNN_GOOSE_CACHE", str(cache))
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture
def chain(
    recipe_file: Path, teacher_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """Two recipes: the second starts from the first, which is also its teacher's assistant."""
    monkeypatch.chdir(tmp_path)
    text = recipe_file.read_text(encoding="utf-8")
    data = next(line for line in text.splitlines() if "data =" in line)
    second = tmp_path / "second.toml"
    second.write_text(
        f"""
        name = "second"
        teacher = [
            {{ model = "{teacher_dir}" }},
            {{ model = "runs/tiny/model", name = "assistant" }},
        ]
        student = {{ start = "runs/tiny" }}
        {data}

        [[stage]]
        kind = "distill"
        name = "late"
        teacher = "assistant"
        train = "all"
        tokens = 512
        window = 64
        batch = 2
        lr = 1e-3
        losses = [{{ name = "kl" }}]
        [stage.precision]
        k = {{ steps = 1 }}
        """,
        encoding="utf-8",
    )
    return ["distill", "tiny.toml", "second.toml"]


def weights(run: str) -> bytes:
    return Path("runs", run, "model", "model.safetensors").read_bytes()


def touched(run: str) -> bytes:
    return Path("runs", run, "metrics.jsonl").read_bytes()


def test_the_second_starts_from_the_first_as_it_would_alone(
    runner: CliRunner, chain: list[str]
) -> None:
    done = runner.invoke(app, chain)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    first, second = (
        lines.index(f"link {n} of 2: {name}.toml, in runs/{name}")
        for n, name in ((1, "tiny"), (2, "second"))
    )
    assert first < lines.index("next: asnn-goose eval runs/tiny") < second
    assert "loading the teacher runs/tiny/model" in lines[second:]
    assert lines[-1] == "next: asnn-goose eval runs/second"

    together = weights("second")
    Path("runs", "second").rename("together")
    alone = runner.invoke(app, ["distill", "second.toml"])
    assert alone.exit_code == 0, alone.output
    assert weights("second") == together


def test_threads_of_one_link_are_not_those_of_the_next(
    runner: CliRunner, chain: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, found = torch.get_num_threads(), list[int]()
    monkeypatch.setattr(torch, "get_num_threads", lambda: before + 1)
    monkeypatch.setattr(torch, "set_num_threads", found.append)
    assert runner.invoke(app, chain).exit_code == 0
    assert found == [before + 1] * 2


def test_resume_skips_what_is_finished_and_starts_the_rest(
    runner: CliRunner, chain: list[str]
) -> None:
    assert runner.invoke(app, ["distill", "tiny.toml"]).exit_code == 0
    refused = runner.invoke(app, chain)
    assert refused.exit_code == 2
    assert refused.stderr.startswith("error: tiny.toml: runs/tiny is not empty: resume it")
    assert not Path("runs", "second").exists()

    metrics = touched("tiny")
    done = runner.invoke(app, [*chain, "--resume"])
    assert done.exit_code == 0, done.output
    assert "runs/tiny is complete" in done.stdout
    assert touched("tiny") == metrics
    metrics, made = touched("second"), weights("second")
    again = runner.invoke(app, [*chain, "--resume"])
    assert again.exit_code == 0, again.output
    assert again.stdout.count("is complete") == 2
    assert (touched("second"), weights("second")) == (metrics, made)


def test_ctrl_c_says_how_to_go_on_and_resume_does(
    runner: CliRunner, chain: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = StepLines.on_step

    def pressed(self: StepLines, info: StepInfo) -> None:
        shown(self, info)
        if info.stage == "late" and info.step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(StepLines, "on_step", pressed)
        stop = runner.invoke(app, chain)
    assert stop.exit_code == 130
    why, place, again = stop.stderr.splitlines()
    assert why.startswith("error: stopped by SIGINT; saved runs/second/checkpoints/step-00000002")
    assert place == "the chain stopped at link 2 of 2: second.toml, in runs/second"
    assert again == "go on with: asnn-goose distill tiny.toml second.toml --resume"

    done = runner.invoke(app, shlex.split(again.partition("asnn-goose ")[2]))
    assert done.exit_code == 0, done.output
    assert "runs/tiny is complete" in done.stdout
    assert "resumed from runs/second/checkpoints/step-00000002" in done.stdout
    resumed = weights("second")
    Path("runs", "second").rename("stopped")
    assert runner.invoke(app, [*chain, "--resume"]).exit_code == 0
    assert weights("second") == resumed


def test_ctrl_c_before_anything_is_saved(
    runner: CliRunner, chain: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def pressed(*args: object, **settings: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(recipe_run, "build_run", pressed)
        stop = runner.invoke(app, chain)
    assert stop.exit_code == 130
    assert stop.stderr.splitlines()[0] == "error: interrupted"
    assert "stopped at link 1 of 2" in stop.stderr
    assert runner.invoke(app, [*chain, "--resume", "--quiet"]).exit_code == 0


def test_a_bug_keeps_its_traceback(
    runner: CliRunner, chain: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **settings: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(recipe_run, "build_run", broken)
    assert isinstance(runner.invoke(app, chain).exception, ZeroDivisionError)


def test_dry_run_prints_every_link(runner: CliRunner, chain: list[str]) -> None:
    dry = runner.invoke(app, [*chain, "--dry-run"])
    assert dry.exit_code == 0, dry.output
    first, _, second = dry.stdout.partition("# link 2 of 2: second.toml, in runs/second")
    assert first.startswith("# link 1 of 2: tiny.toml, in runs/tiny")
    assert "# in all: 1,024 tokens" in first
    assert 'start = "runs/tiny"' in second
    assert "# no estimate before runs/tiny is there" in second
    assert not Path("runs").exists()

    assert runner.invoke(app, ["distill", "tiny.toml", "--quiet"]).exit_code == 0
    later = runner.invoke(app, [*chain, "--dry-run"])
    assert later.exit_code == 0, later.output
    assert "# in all: 512 tokens" in later.stdout


def test_a_wrong_path_is_refused_before_anything_begins(
    runner: CliRunner, chain: list[str]
) -> None:
    file = Path("second.toml")
    file.write_text(file.read_text().replace('start = "runs/tiny"', 'start = "runs/tyni"'))
    for more in ([], ["--dry-run"], ["--resume"]):
        result = runner.invoke(app, [*chain, *more])
        assert result.exit_code == 2
        assert result.stderr == (
            "error: second.toml: student.start = 'runs/tyni': nothing is there, and no recipe"
            " before it makes it\n"
        )
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (["--out", "runs/x"], "--out runs/x: is the folder of one run, and there are 2 recipes"),
        (["--set", "seed=1"], "--set seed=1: is a setting of one recipe, and there are 2"),
    ],
)
def test_options_of_one_recipe_are_refused(
    runner: CliRunner, chain: list[str], option: list[str], said: str
) -> None:
    result = runner.invoke(app, [*chain, *option])
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {said}")
    assert not Path("runs").exists()
