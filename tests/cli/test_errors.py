"""Expected errors are one message and exit code 2; bugs keep their traceback."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from asnn_goose.cli import app
from asnn_goose.cli.expected_errors import TRAINING, expected_errors, message
from asnn_goose.data.document import DataError
from asnn_goose.sources import SourceError
from asnn_goose.train.run_errors import RunInterrupted, TrainingDiverged


def exit_of(error: BaseException) -> int:
    """Exit code of a verb that raises `error`."""
    with pytest.raises(typer.Exit) as end, expected_errors():
        raise error
    return end.value.exit_code


@pytest.mark.parametrize(
    "error",
    [
        SourceError("no network"),
        DataError("no such corpus"),
        TrainingDiverged(step=3, stage="align", tensor="loss", checkpoint=None),
        FileNotFoundError(2, "No such file or directory", "recipe.toml"),
    ],
)
def test_expected(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_of(error) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"error: {message(error)}\n"


def test_file_errors_name_the_file() -> None:
    assert message(FileNotFoundError(2, "No such file", "a.toml")) == "a.toml: No such file"
    assert message(OSError("the Hub does not know x")) == "the Hub does not know x"


def test_interruption_has_the_code_of_its_signal() -> None:
    assert exit_of(RunInterrupted(signal=15, name="SIGTERM", checkpoint=Path("c"))) == 143
    assert exit_of(KeyboardInterrupt()) == 130


def test_our_own_value_errors_are_expected_and_others_are_not() -> None:
    from asnn_goose.numbers import count

    with pytest.raises(typer.Exit), expected_errors():
        count("many")
    with pytest.raises(ValueError, match="not ours"), expected_errors():
        raise ValueError("not ours")
    with pytest.raises(RuntimeError, match="a bug"), expected_errors():
        raise RuntimeError("a bug")


def no_memory() -> list[Exception]:
    found: list[Exception] = [MemoryError(), OSError(12, "Cannot allocate memory", "weights")]
    for take in (lambda: torch.empty(1 << 60), lambda: np.empty(1 << 60)):
        try:
            take()
        except (RuntimeError, MemoryError) as error:
            found.append(error)
    return found


def test_no_memory_is_said_with_what_takes_less(capsys: pytest.CaptureFixture[str]) -> None:
    errors = no_memory()
    assert len(errors) == 4
    for error in errors:
        assert exit_of(error) == 2
        assert "a smaller batch" in capsys.readouterr().err
    assert "4611686018427387904 bytes more" in message(errors[2])


def test_a_missing_model_is_one_message(runner: CliRunner, tmp_path: Path) -> None:
    result = runner.invoke(app, ["generate", str(tmp_path / "nowhere"), "Hi"])
    assert result.exit_code == 2
    assert "nowhere" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_closed_pipe_ends_quietly(student_dir: Path) -> None:
    script = "from asnn_goose.cli import app; app()"
    verb = ["generate", str(student_dir), "Hi", "--tokens", "2k", "--keep-going", "--seed", "0"]
    with subprocess.Popen(
        [sys.executable, "-c", script, *verb], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(3)
        process.stdout.close()
        errors = process.stderr.read().decode()
        assert process.wait(timeout=60) == 0
    # Packing comes first where no test before has packed this student.
    assert [line for line in errors.splitlines() if not line.startswith("packing ")] == []


def test_what_only_training_needs_is_named_where_it_is_missing() -> None:
    """As in the engine-only install: everything of the extra [train] is hidden."""
    script = (
        "import sys\n"
        "from asnn_goose.cli.expected_errors import TRAINING\n"
        "sys.modules.update(dict.fromkeys(TRAINING))\n"
        "from asnn_goose.cli import app\n"
        "app(['distill', 'recipes/smollm2-demo.toml'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "is not installed, and this needs it: pip install 'asnn-goose[train]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_extra_is_what_the_message_knows() -> None:
    file = Path(__file__).parents[2] / "pyproject.toml"
    wanted = tomllib.loads(file.read_text())["project"]["optional-dependencies"]["train"]
    names = {re.split(r"[^\w-]", one)[0].replace("-", "_") for one in wanted}
    assert names == TRAINING
