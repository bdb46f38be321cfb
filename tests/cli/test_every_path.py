"""Every path that a command line may name: outputs are checked first, bad text is one message.

The table of commands comes from the app: a verb with a new path is missing in the tables below.
"""

from __future__ import annotations

import json
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from asnn_goose.cli import app

Words = tuple[str, ...]

WRITTEN = ("packed", "sensitivity", "allocation")
"""What commands leave in a student's folder."""

ALLOCATE = ("allocate", "{student}", "--no-rotate", "--budget", "3", "--on")

OUTPUTS: dict[tuple[str, str], Words] = {
    ("ablate", "out"): ("ablate", "{grid}"),
    ("bench", "json"): ("bench", "{student}"),
    ("distill", "out"): ("distill", "{recipe}"),
    ("eval", "json"): ("eval", "{student}", "--on", "{text}"),
    ("export", "out"): ("export", "{student}", "--to", "packed"),
    ("recall", "json"): ("recall", "{student}", "--to", "64"),
    ("report", "out"): ("report", "{done}"),
    ("restore", "out"): ("restore", "{compact}"),
    ("allocate", "out"): (
        "allocate",
        "{student}",
        "--no-rotate",
        "--budget",
        "3",
        "--on",
        "{text}",
    ),
    ("sensitivity", "out"): ("sensitivity", "{student}", "--planes", "1", "--on", "{text}"),
    ("serve", "cache_folder"): ("serve", "{student}", "--port", "0"),
    ("spikes", "json"): ("spikes", "{spiking}", "--no-teacher", "--on", "{text}"),
    ("teacher answer", "out"): (
        *("teacher", "answer", "{teacher}", "--examples", "ask_wiki", "--count", "2"),
    ),
    ("teacher lab", "out"): ("teacher", "lab"),
    ("teacher tune", "out"): ("teacher", "tune", "{teacher}", "--text", "{text}"),
    ("teacher write", "out"): ("teacher", "write", "{teacher}", "--tokens", "1k"),
}
"""Paths that are written to, and the words that lead there."""

FILES = {key for key in OUTPUTS if key[1] == "json"}
FILES |= {
    ("report", "out"),
    ("teacher answer", "out"),
    ("teacher write", "out"),
    ("compact", "out"),
}
COMPACT = {("compact", "out"): ("export", "{student}", "--to", "compact")}

INPUTS: dict[tuple[str, str], Words] = {
    ("ablate", "grid"): ("ablate", "{bad}", "--dry-run"),
    ("distill", "recipes"): ("distill", "{bad}", "--dry-run"),
    ("report", "runs"): ("report", "{run}"),
    ("teacher cache", "recipe"): ("teacher", "cache", "{bad}"),
    ("restore", "file"): ("restore", "{bad}"),
    ("eval", "on"): ("eval", "{student}", "--on", "{bad}"),
    ("allocate", "on"): (*ALLOCATE, "{bad}"),
    ("sensitivity", "on"): ("sensitivity", "{student}", "--planes", "1", "--on", "{bad}"),
    ("spikes", "on"): ("spikes", "{spiking}", "--no-teacher", "--on", "{bad}"),
    ("teacher answer", "sets"): (
        *("teacher", "answer", "{teacher}", "--examples", "{bad}", "--count", "2", "--out"),
        "{new}.jsonl",
    ),
    ("teacher tune", "sets"): (
        *("teacher", "tune", "{teacher}", "--examples", "{bad}", "--out", "{new}"),
    ),
    ("teacher tune", "text"): ("teacher", "tune", "{teacher}", "--text", "{bad}", "--out", "{new}"),
    ("teacher write", "text"): (
        *("teacher", "write", "{teacher}", "--tokens", "1k", "--text", "{bad}", "--out"),
        "{new}.jsonl",
    ),
}
"""Files that are read: by a path of their own, or by the name of a text."""

TEXTS = {key for key in INPUTS if key[1] in ("on", "text", "sets")}
FOLDERS = {("eval", "task_data"), ("push", "folder")}
"""Of files that lm-eval reads; of what `export` wrote (tests/export/test_push.py)."""


def verbs(group: typer.Typer, place: str = "") -> Iterator[tuple[str, Any]]:
    """Names and functions of all commands."""
    for command in group.registered_commands:
        name = command.name or str(command.callback.__name__)  # type: ignore[union-attr]
        yield f"{place}{name}", command.callback
    for inner in group.registered_groups:
        yield from verbs(inner.typer_instance, f"{place}{inner.name} ")  # type: ignore[arg-type]


def parts_of(annotation: Any) -> Iterator[Any]:
    yield annotation
    for inner in (*get_args(annotation), *getattr(annotation, "__metadata__", ())):
        yield from parts_of(inner)


def paths() -> Iterator[tuple[str, str]]:
    """Options and arguments that are paths, or whose help says that a text file may stand there."""
    for verb, function in verbs(app):
        for name, annotation in get_type_hints(function, include_extras=True).items():
            parts = list(parts_of(annotation))
            helps = " ".join(str(getattr(part, "help", "")) for part in parts)
            if Path in parts or ".jsonl" in helps:
                yield verb, name


CHECKED = {
    *(("sensitivity", name) for name in ("planes", "group", "steps", "together")),
    *(("bench", name) for name in ("planes", "group", "steps", "repeats")),
    *((verb, "top_k") for verb in ("generate", "chat")),
    ("ablate", "seed"),
}
"""Whole numbers whose limits what they are handed to knows, and tells by name."""


def test_whole_numbers_have_limits() -> None:
    """A negative seed, say, would be a traceback of the generator's."""
    found = set()
    for verb, function in verbs(app):
        for name, annotation in get_type_hints(function, include_extras=True).items():
            parts = list(parts_of(annotation))
            options = [part for part in parts if hasattr(part, "help")]
            if int in parts and not any(o.parser or o.min is not None for o in options):
                found.add((verb, name))
    assert found == CHECKED


def test_no_path_is_left_out() -> None:
    assert set(paths()) == {*OUTPUTS, *INPUTS, *FOLDERS}


@pytest.fixture
def places(
    student_dir: Path, teacher_dir: Path, recipe_file: Path, text_file: Path, tmp_path: Path
) -> dict[str, Path]:
    student = shutil.copytree(
        student_dir,
        tmp_path / "s",
        ignore=shutil.ignore_patterns(*WRITTEN),
    )
    cells = 'cell = [{ name = "a" }, { name = "b", set = ["stage.0.lr=1e-2"] }]'
    grid = f'name = "grid"\nbase = "{recipe_file}"\nseeds = [0]\n{cells}\n'
    found = {"grid": tmp_path / "grid.toml", "compact": tmp_path / "small.safetensors"}
    found["grid"].write_text(grid)
    found["compact"].write_bytes(b"")
    found |= {"student": student, "teacher": teacher_dir, "recipe": recipe_file}
    found["spiking"] = shutil.copytree(student, tmp_path / "spiking")
    config = json.loads((student / "config.json").read_text())
    spiking = config | {"precision": {"*": {"steps": 1}}}
    (found["spiking"] / "config.json").write_text(json.dumps(spiking))
    found["done"] = tmp_path / "done"
    found["done"].mkdir()
    (found["done"] / "eval.json").write_text("{}")
    return found | {"text": text_file, "new": tmp_path / "new"}


@pytest.fixture
def calls(
    runner: CliRunner, places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """Runs words with these places; loading a model's weights is work, and fails."""

    def refuse(kind: Any, folder: Any, **_: Any) -> Any:
        raise AssertionError(f"{folder} was loaded before the output was checked")

    def call(words: Words, *, load: bool = True, **more: Path) -> Result:
        with monkeypatch.context() as patched:
            for module in () if load else ("assistant", "teacher"):
                patched.setattr(f"asnn_goose.model.{module}.load_weights", refuse)
            return runner.invoke(app, [w.format(**places, **more) for w in words])

    return call


def expect_message(result: Result, *named: str) -> None:
    """One message, no traceback."""
    assert result.exit_code == 2, (result.output, result.exception)
    assert isinstance(result.exception, SystemExit), result.exception
    for name in named:
        assert name in " ".join(result.stderr.split())


@contextmanager
def full_disk() -> Iterator[None]:
    """No file takes a byte more, whoever writes it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


ALL = OUTPUTS | COMPACT
every_output = pytest.mark.parametrize("output", sorted(ALL), ids=".".join)


def words_to(output: tuple[str, str]) -> Words:
    return (*ALL[output], f"--{output[1].replace('_', '-')}", "{there}")


@every_output
def test_a_place_that_cannot_be_written(output: tuple[str, str], calls: Any) -> None:
    result = calls(words_to(output), there=Path("/proc/none/out.jsonl"), load=False)
    expect_message(result, "/proc")


@every_output
def test_a_place_of_the_other_kind(output: tuple[str, str], calls: Any, tmp_path: Path) -> None:
    there = tmp_path / "taken.jsonl"
    if output in FILES:
        there.mkdir()
    else:
        there.write_text("a file")
    expect_message(calls(words_to(output), there=there, load=False), "taken.jsonl")
    assert there.is_dir() or there.read_text() == "a file"


@pytest.mark.parametrize("output", sorted({*FILES, ("compact", "out")}), ids=".".join)
def test_a_file_of_another_kind(output: tuple[str, str], calls: Any, tmp_path: Path) -> None:
    there = tmp_path / "notes.jsonl"
    there.write_text("my notes")
    expect_message(calls(words_to(output), there=there, load=False), "notes.jsonl exists")
    assert there.read_text() == "my notes"


@every_output
def test_a_full_disk(output: tuple[str, str], calls: Any, tmp_path: Path) -> None:
    with full_disk():
        result = calls(words_to(output), there=tmp_path / "new.jsonl", load=False)
    expect_message(result, "File too large")


BAD = {
    "empty": b"",
    "blank": b" \n\n",
    "cut": "größe".encode()[:3],
    "utf-16": "größe = 1".encode("utf-16"),
    "latin-1": "größe = 1\n".encode("latin-1"),
    "huge": b"\0" * 12_000_000,
}


@pytest.mark.parametrize("defect", sorted(BAD.keys() - {"huge"}))  # a text may be long
@pytest.mark.parametrize("given", sorted(TEXTS), ids=".".join)
def test_a_text_that_is_none(
    given: tuple[str, str], defect: str, calls: Any, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.txt"
    bad.write_bytes(BAD[defect])
    expect_message(calls(INPUTS[given], bad=bad), "bad.txt")


@pytest.mark.parametrize("defect", sorted(BAD))
@pytest.mark.parametrize("given", sorted(INPUTS.keys() - TEXTS), ids=".".join)
def test_a_file_that_is_none(
    given: tuple[str, str], defect: str, calls: Any, tmp_path: Path
) -> None:
    bad, run = tmp_path / "bad.toml", tmp_path / "run"
    run.mkdir()
    bad.write_bytes(BAD[defect])
    (run / "metrics.jsonl").write_bytes(BAD[defect])
    named = "metrics.jsonl" if given[0] == "report" else "bad.toml"
    expect_message(calls(INPUTS[given], bad=bad, run=run), named)


@pytest.mark.parametrize("text", ["a\0b\r\n" * 200, "a" * 100_000, "\ufeffone\r\rtwo " * 50])
def test_odd_text_is_text(text: str, calls: Any, tmp_path: Path) -> None:
    odd = tmp_path / "odd.txt"
    odd.write_text(text, newline="")
    result = calls(("eval", "{student}", "--on", "{odd}", "--tokens", "200"), odd=odd)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("verb", ["distill", "ablate"])
def test_lines_that_end_as_on_windows(verb: str, calls: Any, places: dict[str, Path]) -> None:
    file = places["recipe" if verb == "distill" else "grid"]
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    result = calls((verb, "{file}", "--dry-run"), file=file)
    assert result.exit_code == 0, result.output
