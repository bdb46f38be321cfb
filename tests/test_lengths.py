"""How long a file or a function may be. Sources are parsed, not run."""

from __future__ import annotations

import ast
import statistics
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
SOURCE, BENCH = ROOT / "src" / "asnn_goose", ROOT / "bench"

FILE_LINES = 300
FUNCTION_MEDIAN = 10
FUNCTION_BODY = 40
FUNCTION_P90 = 40


class Function(NamedTuple):
    """Lines of one: signature, docstring and body; and the body alone.

    A table of options, and what is said of each, may be as long as there are options.
    """

    lines: int
    body: int
    name: str


def functions(root: Path) -> list[Function]:
    """Every function under `root`, the longest last."""
    found = []
    for path in sorted(root.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                end = node.end_lineno or node.lineno
                own = node.body[1:] if ast.get_docstring(node) is not None else node.body
                body = end - own[0].lineno + 1 if own else 0
                name = f"{path.relative_to(root)}:{node.name}"
                found.append(Function(end - node.lineno + 1, body, name))
    return sorted(found)


def test_files_stay_short() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in SOURCE.rglob("*.py")}
    too_long = {str(path): lines for path, lines in lengths.items() if lines > FILE_LINES}
    assert too_long == {}


def test_functions_stay_short() -> None:
    measured = functions(SOURCE)
    lines = [one.lines for one in measured]
    longest = "\n".join(f"{one.lines} {one.name}" for one in measured[-20:])
    assert statistics.median(lines) <= FUNCTION_MEDIAN, longest
    assert statistics.quantiles(lines, n=10)[-1] <= FUNCTION_P90, longest


def test_no_function_is_long_but_for_its_options() -> None:
    for root in (SOURCE, BENCH):
        assert [one for one in functions(root) if one.body > FUNCTION_BODY] == []


def test_the_parts_of_a_function_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        'def f(\n    a: int,\n) -> int:\n    """One."""\n    def g(): pass\n    return g\n'
        'def h():\n    """Nothing but words."""\n'
    )
    assert functions(tmp_path) == [(1, 1, "a.py:g"), (2, 0, "a.py:h"), (6, 2, "a.py:f")]
