"""The floors of the house: who may import whom.

Sources are parsed, not run, so imports inside functions, under TYPE_CHECKING and by name
(`importlib.import_module("asnn_goose.train")`) count like any other.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = "asnn_goose"
ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / PACKAGE
BENCH = ROOT / "bench"

GROUND = {"trace", "disk", "meter", "names", "numbers", "places", "sources", "shape"}
GROUND |= {"chat_template", "leftovers", "mkl", "threads"}
TRAIN_MAY = GROUND | {"ops", "format", "model", "data", "losses"}
RECIPE_MAY = GROUND | {"data", "model", "losses", "train", "eval"}
TEACHERS_MAY = RECIPE_MAY | TRAIN_MAY | {"recipe"}
STUDY_MAY = TEACHERS_MAY | {"teachers", "subject", "report", "export"}
MAY_IMPORT: dict[str, set[str]] = {
    "trace": set(),
    "leftovers": set(),
    "disk": {"leftovers"},
    "meter": set(),
    "names": set(),
    "numbers": set(),
    "places": {"shape"},
    "chat_template": {"template_limits"},
    "template_limits": set(),
    "mkl": {"_native"},
    "threads": set(),
    "sources": {"disk", "leftovers", "names"},
    "shape": set(),
    "ops": {"_native", "names"},
    "format": {"shape", "disk", "names"},
    "model": {"ops", "trace", "sources", "shape", "names", "places"},
    "data": {"format", "trace", "sources", "disk", "names", "chat_template", "threads"},
    "losses": {"ops", "trace", "names"},
    "train": TRAIN_MAY,
    "eval": GROUND | {"ops", "model", "data", "format", "infer"},
    "export": {"ops", "model", "format", "shape", "disk", "names"},
    "infer": {"format", "shape", "disk", "leftovers", "names", "numbers"}
    | {"chat_template", "threads", "_native"},
    "subject": GROUND | {"model", "export", "infer", "eval", "data", "format"},
    "report": {"disk"},
    "recipe": RECIPE_MAY,
    "teachers": TEACHERS_MAY,
    "study": STUDY_MAY,
}
MAY_IMPORT["cli"] = set(MAY_IMPORT)
TORCHLESS = {"shape", "format", "infer", "disk", "names", "numbers", "places", "report"}
TORCHLESS |= {"chat_template", "template_limits", "mkl", "threads"}
TORCH = {"torch", "transformers", "accelerate", "torchvision", "torchaudio"}


def room_of(module: str) -> str:
    """`asnn_goose.ops.wkv7` lives in `ops`; the package itself in no room."""
    return module.split(".")[1] if "." in module else ""


def module_name(path: Path, root: Path, package: str = PACKAGE) -> str:
    parts = (package, *path.relative_to(root).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(source: str, module: str, *, package: bool) -> Iterator[str]:
    """Full dotted name of every import in a source text; `module` is that text's own name."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                kept = len(module.split(".")) - node.level + package
                base = ".".join(filter(None, [*module.split(".")[:kept], base]))
            # `from asnn_goose import train` names a room, not an attribute
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from (str(arg.value) for arg in node.args if isinstance(arg, ast.Constant))


def violations(root: Path) -> list[str]:
    """Every import under `root` that the floors forbid, as `module imports name`."""
    found = []
    for path in sorted(root.rglob("*.py")):
        module = module_name(path, root)
        source = path.read_text(encoding="utf-8")
        names = set(imported(source, module, package=path.name == "__init__.py"))
        found += [f"{module} imports {name}" for name in sorted(names) if forbidden(module, name)]
    return found


def forbidden(module: str, name: str) -> bool:
    room, top = room_of(module), name.split(".")[0]
    if not room:
        return top != "__future__"
    if top in TORCH or name.startswith("safetensors.torch"):
        return room in TORCHLESS
    if top != PACKAGE or room_of(name) in {room, "__version__"}:
        return False
    return room_of(name) not in MAY_IMPORT.get(room, set())


Graph = Mapping[str, set[str]]


def files(root: Path, package: str = PACKAGE) -> Graph:
    """Every module under `root` and the modules there that it names, the package itself left out.

    A name counts for the longest module that it starts with: `asnn_goose.shape.slots.Matrix` for
    the file of the slots. That importing a file also runs the `__init__` above it is not counted:
    it is true of every file.
    """
    paths = {module_name(path, root, package): path for path in sorted(root.rglob("*.py"))}
    found: dict[str, set[str]] = {}
    for module, path in paths.items():
        source, is_package = path.read_text(encoding="utf-8"), path.name == "__init__.py"
        named = {longest(name, paths) for name in imported(source, module, package=is_package)}
        found[module] = named - {module, package, ""}
    return found


def longest(name: str, modules: Mapping[str, Path]) -> str:
    """The longest start of a dotted name that is a module, or "" where none is."""
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name


def folders(graph: Graph) -> dict[str, dict[str, set[str]]]:
    """For every folder the parts of it, files and folders, that name each other."""
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for module, named in graph.items():
        for name in named:
            here, there = module.split("."), name.split(".")
            shared = next(
                (i for i, (a, b) in enumerate(zip(here, there, strict=False)) if a != b), None
            )
            if shared is not None:  # else one is the folder of the other
                found[".".join(here[:shared])][here[shared]].add(there[shared])
    return found


def circle(graph: Graph) -> list[str]:
    """Modules that import each other in a ring, the first one again at the end; empty for none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        ring: list[str] = error.args[1]
        return ring
    return []


def plant(root: Path, path: str, source: str) -> list[str]:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(source, encoding="utf-8")
    return violations(root)


def test_imports_point_down_only() -> None:
    assert violations(SOURCE) == []


def named(cell: str) -> set[str]:
    """Rooms that a cell of CONTRIBUTING's table lets in."""
    found: set[str] = set()
    for word in cell.split(", "):
        if word.endswith("+"):
            found |= {word[:-1], *MAY_IMPORT[word[:-1]]}
        else:
            whole = {"nothing": set(), "ground": GROUND, "anything": set(MAY_IMPORT) - {"cli"}}
            found |= whole.get(word, {word})
    return found


def test_the_table_in_contributing_is_this_one() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)(?:\.py|/)?` \| (.+?) \|", text, re.MULTILINE)
    assert {room: named(cell) for room, cell in rows} == MAY_IMPORT


def test_only_its_own_tests_and_the_campaign_import_the_command_line() -> None:
    paths = [*(ROOT / "bench").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    found = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in paths
        if not any(path.is_relative_to(ROOT / "tests" / own) for own in ("cli", "campaign"))
        for name in imported(path.read_text(encoding="utf-8"), path.stem, package=False)
        if name.startswith(f"{PACKAGE}.cli")
    ]
    assert found == []


def test_every_room_is_on_the_plan() -> None:
    rooms = {room_of(module_name(path, SOURCE)) for path in SOURCE.rglob("*.py")} - {""}
    assert rooms <= set(MAY_IMPORT), f"rooms without a floor: {rooms - set(MAY_IMPORT)}"


def test_measuring_never_reaches_training() -> None:
    for room in ("eval", "export", "infer"):
        reachable, queue = set(), [room]
        while queue:
            reachable.add(here := queue.pop())
            queue += MAY_IMPORT.get(here, set()) - reachable
        assert "train" not in reachable


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("losses/kl.py", "from asnn_goose.model import goose"),
        ("losses/kl.py", "import asnn_goose.train.loop as loop"),
        ("losses/kl.py", "from ..model.goose import config"),
        ("losses/__init__.py", "from .. import model"),
        ("eval/perplexity.py", "def lazy():\n    from asnn_goose import train\n    return train"),
        ("eval/perplexity.py", "import importlib\nimportlib.import_module('asnn_goose.train')"),
        (
            "infer/engine.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from torch import Tensor",
        ),
        ("format/packed.py", "from safetensors.torch import load_file"),
        ("__init__.py", "from asnn_goose.ops import wkv7"),
        ("__init__.py", "import torch"),
        ("cellar/wine.py", "from asnn_goose.ops import wkv7"),
    ],
)
def test_checker_sees_a_planted_violation(tmp_path: Path, path: str, source: str) -> None:
    assert len(plant(tmp_path, path, source)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("eval/perplexity.py", "from asnn_goose.trace import Trace\nfrom .bytes import count"),
        ("cli/eval.py", "def run():\n    from asnn_goose.train import loop\n    return loop"),
        ("ops/wkv7/__init__.py", "from .chunked import wkv7\nfrom asnn_goose import _native"),
        ("recipe.py", "from asnn_goose import __version__\nimport torch"),
        ("__init__.py", "from __future__ import annotations"),
    ],
)
def test_checker_lets_the_rest_pass(tmp_path: Path, path: str, source: str) -> None:
    assert plant(tmp_path, path, source) == []


def test_no_circles_between_files_or_folders() -> None:
    for root, package in ((SOURCE, PACKAGE), (BENCH, "bench")):
        graph = files(root, package)
        assert circle(graph) == []
        for place, parts in folders(graph).items():
            assert circle(parts) == [], place


def test_a_planted_circle_is_seen(tmp_path: Path) -> None:
    plant(tmp_path, "ops/__init__.py", "")
    plant(tmp_path, "ops/a.py", "from asnn_goose.ops.deep.c import C")
    plant(tmp_path, "ops/deep/c.py", "def lazy():\n    from ..b import B\n    return B")
    plant(tmp_path, "ops/b.py", "B = 1")
    assert circle(files(tmp_path)) == circle(folders(files(tmp_path))["asnn_goose.ops"]) == []
    plant(tmp_path, "ops/d.py", "from .deep import c")
    plant(tmp_path, "ops/deep/e.py", "import asnn_goose.ops.d")
    assert circle(files(tmp_path)) == []
    assert set(circle(folders(files(tmp_path))["asnn_goose.ops"])) == {"d", "deep"}
    plant(tmp_path, "ops/deep/c.py", "def lazy():\n    from ..d import D\n    return D")
    assert len(circle(files(tmp_path))) == 3


def test_importing_the_package_is_free() -> None:
    script = (
        f"import sys, {PACKAGE}; assert 'torch' not in sys.modules; print({PACKAGE}.__version__)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
