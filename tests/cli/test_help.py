"""Help pages: complete, quick, and with examples that the command line accepts."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from asnn_goose.cli import app

ROOT: Any = typer.main.get_command(app)


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, child in getattr(command, "commands", {}).items():
        yield (*path, name), child
        yield from leaves(child, (*path, name))


PAGES = dict(leaves(ROOT))


def example_lines(text: str) -> list[str]:
    lines = text.partition("Examples:")[2].splitlines()
    return [line.strip() for line in lines if line.strip()]


def test_verbs() -> None:
    verbs = {path[0] for path in PAGES}
    assert verbs == {
        *("teacher", "data", "distill", "eval", "report", "ablate", "allocate", "sensitivity"),
        *("recall", "spikes"),
        *("export", "push", "restore", "generate", "chat", "serve", "bench", "doctor"),
    }


@pytest.mark.parametrize("path", PAGES, ids=" ".join)
def test_every_page_has_examples_that_parse(path: tuple[str, ...], runner: CliRunner) -> None:
    page = runner.invoke(app, [*path, "--help"])
    assert page.exit_code == 0
    lines = example_lines(page.stdout)
    assert lines, f"no examples in:\n{page.stdout}"
    for line in lines:
        program, *words = shlex.split(line.partition(" < ")[0])
        assert program == "asnn-goose"
        assert words[0] == path[0]
        target = next(p for p in sorted(PAGES, key=len, reverse=True) if [*p] == words[: len(p)])
        # Parses without running; a wrong option or value raises.
        PAGES[target].make_context(line, words[len(target) :])


@pytest.mark.parametrize("path", PAGES, ids=" ".join)
def test_every_option_is_described(path: tuple[str, ...]) -> None:
    for parameter in PAGES[path].params:
        if parameter.name != "help":
            assert parameter.help, f"{' '.join(path)}: {parameter.name} has no help"


def test_a_wrong_example_would_be_seen() -> None:
    with pytest.raises(Exception, match="No such option"):
        PAGES[("distill",)].make_context("x", ["a.toml", "--dry-rum"])


@pytest.mark.parametrize("path", [(), *PAGES], ids=lambda path: " ".join(path) or "asnn-goose")
def test_help_imports_no_torch(path: tuple[str, ...]) -> None:
    script = (
        "import sys\n"
        "from asnn_goose.cli import app\n"
        f"try:\n    app({[*path, '--help']!r})\n"
        "except SystemExit as end:\n    assert not end.code\n"
        "heavy = {'torch', 'transformers', 'numpy', 'rich'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout


def test_version(runner: CliRunner) -> None:
    from asnn_goose import __version__

    assert runner.invoke(app, ["--version"]).stdout.strip() == f"asnn-goose {__version__}"
