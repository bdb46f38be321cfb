"""A packed model runs without torch and Transformers: not one import of them on the way."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

import asnn_goose.infer
from asnn_goose.export.packed import export_packed
from asnn_goose.infer.backend import EngineError, native_module

MODULES = [m.name for m in pkgutil.iter_modules(asnn_goose.infer.__path__, "asnn_goose.infer.")]
CHECK = """
heavy = {'torch', 'transformers', 'accelerate'} & {name.split('.')[0] for name in sys.modules}
sys.exit(f'imported {heavy}' if heavy else 0)
"""


def run(script: str, stdin: str = "") -> str:
    done = subprocess.run(
        [sys.executable, "-c", script + CHECK], input=stdin, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def call(*words: str) -> str:
    return (
        "import sys\nfrom asnn_goose.cli import app\n"
        f"try:\n    app({list(words)!r})\nexcept SystemExit as end:\n    assert not end.code\n"
    )


@pytest.fixture(scope="module")
def folder(student: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packed student of 97 one-letter tokens, with a chat template."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("x") / "packed"
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())[:96]
    core = Tokenizer(models.BPE(vocab={letter: n for n, letter in enumerate(letters)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(["<|endoftext|>"])
    core.save(str(source / "tokenizer.json"))
    (source / "chat_template.jinja").write_text(
        "{% for m in messages %}{{ m.content }}|{% endfor %}"
    )
    export_packed(student(num_hidden_layers=1), target, tokenizer=source)
    return target


def test_importing_the_room(folder: Path) -> None:
    run("import sys\n" + "\n".join(f"import {name}" for name in MODULES))


def test_the_engine_on_numpy(folder: Path) -> None:
    out = run(
        "import sys\nfrom asnn_goose.infer.engine import Engine\n"
        f"engine = Engine.load({str(folder)!r}, backend='reference')\n"
        "print(engine.prefill(engine.start(), [1, 2, 3]).shape)\n"
    )
    assert out == "(97,)\n"


@pytest.mark.parametrize("verb", ["generate", "chat"])
def test_the_command_line(verb: str, folder: Path) -> None:
    try:
        native_module()
    except EngineError:
        pytest.skip("no compiled engine")
    words = ("--tokens", "5", "--min-p", "0.1", "--stop", "nothing")
    out = run(call(verb, str(folder), *words), stdin="ABC")
    assert len(out) > 1
