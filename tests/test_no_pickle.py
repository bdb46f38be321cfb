"""No source of ours runs what a stranger's file tells it to. Sources are parsed, not run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE, BENCH = ROOT / "src" / "asnn_goose", ROOT / "bench"

PICKLES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
"""Modules that run what a file tells them to."""
AUTO = {"AutoConfig", "AutoTokenizer", "AutoModelForCausalLM", "kind"}
"""What `from_pretrained` of may find code in a folder; `kind` is one that a caller gives."""


def keyword(call: ast.Call, name: str) -> object:
    """Value of a keyword, as it stands in the source; None where it is not given."""
    return next((ast.unparse(one.value) for one in call.keywords if one.arg == name), None)


def trusting(source: str) -> Iterator[str]:
    """Calls and imports that could run what a stranger's file holds."""
    for node in ast.walk(ast.parse(source)):
        names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        yield from (f"import {name}" for name in names if name.split(".")[0] in PICKLES)
        if not isinstance(node, ast.Call):
            continue
        called, of = ast.unparse(node.func), ast.unparse(node.func).rpartition(".")
        safe = (
            (called != "torch.load" or keyword(node, "weights_only") == "True")
            and (of[2] != "from_pretrained" or of[0] not in AUTO or not trusts(node))
            and keyword(node, "allow_pickle") in (None, "False")
            and keyword(node, "trust_remote_code") in (None, "False")
        )
        if not safe:
            yield called


def trusts(call: ast.Call) -> bool:
    """Whether a call leaves it to a library, or a user at a prompt, to run code of a folder."""
    return keyword(call, "trust_remote_code") != "False"


def test_nothing_runs_what_a_file_tells_it_to() -> None:
    paths = [*SOURCE.rglob("*.py"), *BENCH.rglob("*.py")]
    texts = {path: path.read_text(encoding="utf-8") for path in paths}
    found = [f"{path}: {one}" for path, text in texts.items() for one in trusting(text)]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "def f():\n    from joblib import load",
        "torch.load(file)",
        "torch.load(file, weights_only=False)",
        "np.load(file, allow_pickle=True)",
        "AutoTokenizer.from_pretrained(folder)",
        "lm_eval.simple_evaluate(trust_remote_code=True)",
    ],
)
def test_such_a_call_is_found(source: str) -> None:
    assert list(trusting(source))
