"""The first losses of every recipe of the project, over a teacher of two layers.

    python -m tests.golden.curves [NAME ...]
    python -m tests.golden.curves --check

The first writes tests/golden/NAME.json anew, for every instruction set that this machine has:
whoever changes a number of a recipe's training does so knowingly, and sees which recipes it
changes. The second compares all of them; its exit code is 1 where one has changed.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import tomllib
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from tests.campaign.inputs import BATCH, WINDOW, paragraphs, write_examples, write_teacher
from transformers import AutoTokenizer

from asnn_goose.model import convert, load_teacher
from asnn_goose.recipe import build_run
from asnn_goose.recipe.load import check_recipe, override
from asnn_goose.train.loop import run
from asnn_goose.train.progress import StepInfo

HERE = Path(__file__).parent
RECIPES = HERE.parents[1] / "recipes"
STEPS = 3
SETS = ("default", "avx2", "avx512")
"""What torch's kernels can be told to use (ATEN_CPU_CAPABILITY), each holding those before it."""
LIKELY = "AVX2"
"""Stands for an instruction set of which nothing is written."""
TOLERANCE = 1e-3
WIDE = 0.03
"""For curves whose codes and spikes another processor's rounding tips over: two instruction sets of
one machine differ by 1.4 % in smollm2-spiking, in a dense recipe by a millionth."""
TIPPED = ("smollm2-spiking", "lab-ternary")
TERNARY = ("smollm2-spiking", "smollm2-ternary", "smollm2-p1s3-long", "smollm2-p1s3-balanced")
"""Runs whose student is ternary and spikes; every other one that a recipe goes on from is dense."""
SPIKING = {"*": {"planes": 1, "steps": 3, "threshold": 4.0, "rotate": True}}

Curves = dict[str, list[float]]


def recipe_files() -> dict[str, Path]:
    """Every recipe of the project, grids aside."""
    files = (path for path in RECIPES.rglob("*.toml") if path.parent.name != "ablations")
    return {path.stem: path for path in sorted(files)}


def write_inputs(folder: Path) -> None:
    """A teacher, a dense and a ternary student of its size, a text, examples."""
    (folder / "text.txt").write_text("\n\n".join(paragraphs(300)), "utf-8")
    write_examples(folder / "examples.jsonl")
    write_teacher(folder / "teacher")
    write_teacher(folder / "other", more=("<|other|>",))
    teacher = load_teacher(str(folder / "teacher"))
    for name, precision in (("dense", None), ("spiking", SPIKING)):
        torch.manual_seed(1)
        convert(teacher, precision=precision).save_pretrained(folder / name)
        AutoTokenizer.from_pretrained(folder / "teacher", trust_remote_code=False).save_pretrained(
            folder / name
        )


def shrunk(path: Path, folder: Path) -> dict[str, Any]:
    """A recipe as a table, with these inputs, short windows and a few steps a stage."""
    raw = tomllib.loads(path.read_text("utf-8"))
    for number, teacher in enumerate(raw["teacher"]):
        # A second transformer has words of its own, as in lab-across.
        second = number > 0 and not teacher["model"].startswith("runs/")
        teacher["model"] = str(folder / ("other" if second else _stand_in(teacher["model"])))
    start = raw.get("student", {}).get("start", "scratch")
    if start != "scratch":
        raw["student"]["start"] = str(folder / _stand_in(start))
    raw.get("student", {}).pop("num_hidden_layers", None)  # the teacher has two
    text = [str(folder / "text.txt")]
    data = raw.get("data", {})
    kept = {key: data[key] for key in ("resets", "windows") if key in data}
    raw["data"] = {"train": text, "out_of_domain": text, "decontaminate": [], **kept}
    raw["train"] = raw.get("train", {}) | {"threads": 1, "checkpoint_minutes": 60.0}
    raw["stage"] = [_shrunk(stage, folder) for stage in raw["stage"]]
    return raw


def _stand_in(name: str) -> str:
    if not name.startswith("runs/"):
        return "teacher"
    return "spiking" if name.removeprefix("runs/") in TERNARY else "dense"


def _shrunk(stage: dict[str, Any], folder: Path) -> dict[str, Any]:
    small = {"window": WINDOW, "batch": BATCH, "warmup": min(stage.get("warmup", 0), 1)}
    small |= {key: 4 * WINDOW for key in ("balance", "calibrate", "least_squares") if key in stage}
    if "repeats" in stage:
        small["repeats"] = stage["repeats"] | {"distance": WINDOW // 2}
    if "examples" in stage:
        small["examples"] = [str(folder / "examples.jsonl")]
    if "curriculum" in stage:
        small["curriculum"] = stage["curriculum"] | {"pool": 8 * WINDOW}
    if "replacing" in stage:  # which blocks of thirty says nothing about two
        kept = {key: x for key, x in stage["replacing"].items() if key != "layers"}
        small["replacing"] = kept
    if "time_steps" in stage:
        small["time_steps"] = 4
    accumulate = stage["accumulate"] = min(stage.get("accumulate", 1), 2)
    rows = BATCH * (2 if stage["kind"] == "dpo" else 1)
    small["tokens"] = STEPS * WINDOW * rows * accumulate * (4 if "curriculum" in stage else 1)
    return {key: x for key, x in stage.items() if key not in ("end", "chunk")} | small


class _Keeping:
    """Keeps the loss of every step by its stage."""

    def __init__(self) -> None:
        self.curves: defaultdict[str, list[float]] = defaultdict(list)

    def on_step(self, info: StepInfo) -> None:
        self.curves[info.stage].append(float(f"{info.loss:.6g}"))

    def on_message(self, text: str) -> None:
        pass


def curves(path: Path, folder: Path, *, other: str = "") -> Curves:
    """Losses of a shrunk recipe, by stage; with another setting, as --set takes it, if given."""
    raw, watcher = shrunk(path, folder), _Keeping()
    if other:
        override(raw, other)
    plan = build_run(check_recipe(raw, source=path.name), tell=watcher.on_message)
    with tempfile.TemporaryDirectory() as out:
        run(plan, out=Path(out) / "run", resume=False, progress=watcher)
    return dict(watcher.curves)


def capability() -> str:
    """The instruction set that torch's kernels use."""
    return torch.backends.cpu.get_cpu_capability()


def written() -> bool:
    """Whether every file has curves of this machine's instruction set."""
    files = [json.loads(path.read_text("utf-8")) for path in HERE.glob("*.json")]
    return all(capability() in found for found in files)


def instruction_sets() -> list[str]:
    """Those that this machine has, as ATEN_CPU_CAPABILITY names them."""
    own = capability().lower()
    return list(SETS[: SETS.index(own) + 1]) if own in SETS else [own]


def changed(name: str, folder: Path, *, other: str = "") -> list[str]:
    """What is not as it was written down, a line a stage."""
    file = HERE / f"{name}.json"
    if not file.exists():
        return [f"{name}: nothing is written down"]
    known, tolerance = json.loads(file.read_text()), WIDE if name in TIPPED else TOLERANCE
    wanted = known.get(capability(), known[LIKELY])
    found = curves(recipe_files()[name], folder, other=other)
    return [
        f"{name}, {stage}: {found.get(stage)} instead of {wanted.get(stage)}"
        for stage in found.keys() | wanted.keys()
        if not _alike(found.get(stage, []), wanted.get(stage, []), tolerance=tolerance)
    ]


def _alike(found: list[float], wanted: list[float], *, tolerance: float) -> bool:
    pairs = zip(found, wanted, strict=False)
    near = all(math.isclose(a, b, rel_tol=tolerance) for a, b in pairs)
    return near and len(found) == len(wanted)


def write(names: list[str], folder: Path) -> None:
    """Write the curves of this instruction set into the files."""
    for name in names:
        file = HERE / f"{name}.json"
        known = json.loads(file.read_text()) if file.exists() else {}
        known[capability()] = curves(recipe_files()[name], folder)
        file.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
        print(f"{name}: {known[capability()]}", flush=True)


def main() -> int:
    """Write once for every instruction set, each in a process of its own; or compare."""
    check, named = "--check" in sys.argv, [name for name in sys.argv[1:] if name != "--check"]
    names = named or list(recipe_files())
    if not check and "ATEN_CPU_CAPABILITY" not in os.environ:
        for name in instruction_sets():
            again = [sys.executable, "-m", "tests.golden.curves", *names]
            subprocess.run(again, env={**os.environ, "ATEN_CPU_CAPABILITY": name}, check=True)
        return 0
    with tempfile.TemporaryDirectory() as place:
        os.environ["ASNN_GOOSE_CACHE"] = f"{place}/cache"
        write_inputs(Path(place))
        if not check:
            write(names, Path(place))
            return 0
        lines = [line for name in names for line in changed(name, Path(place))]
        print("\n".join(lines) or f"{len(names)} recipes are as they were")
        return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
