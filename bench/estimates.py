"""Estimated against measured peak memory of six runs, each in a process of its own.

    python bench/estimates.py [--only NAME ...]

Prints a row a run: what `--dry-run` says, the highest resident memory of a process that trains two
steps, and their ratio, which is to stay between 0.85 and 1.15.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from transformers import LlamaForCausalLM

from asnn_goose.meter import peak_bytes, resident_mib
from asnn_goose.recipe import Recipe, estimate
from asnn_goose.recipe.load import check_recipe
from asnn_goose.recipe.run import train_recipe
from asnn_goose.teachers.lab_teacher import lab_config, train_tokenizer
from asnn_goose.train.progress import StepInfo

STEPS = 2
SMOLLM2 = "smollm2-135m"
SPIKING = {"*": {"planes": 2, "steps": 3}}
ALIGN = {"kind": "align", "train": "mixers", "losses": ["attention_output"]}
DISTILL = {"kind": "distill", "train": "all", "losses": ["kl", "ce"]}

RUNS: dict[str, dict[str, Any]] = {
    "tiny": {**DISTILL, "window": 64, "batch": 2},
    "lab": {**DISTILL, "window": 256, "batch": 8, "losses": ["kl", "hidden"]},
    "lab-spiking": {**DISTILL, "window": 256, "batch": 8, "precision": SPIKING},
    "lab-again": {**DISTILL, "window": 512, "batch": 8, "again": True},
    "align": {**ALIGN, "window": 64, "batch": 1, "model": SMOLLM2},
    "distill": {**DISTILL, "window": 32, "batch": 1, "model": SMOLLM2, "average": {"since": 0}},
}
"""A stage each; `model` where it is not the lab teacher, `again` with activation checkpointing."""


class Silent:
    """Watches nothing."""

    def on_step(self, info: StepInfo) -> None:
        """Nothing."""

    def on_message(self, text: str) -> None:
        """Nothing."""


def recipe(name: str, folder: Path) -> Recipe:
    """A recipe over a text of numbers."""
    stage = {key: value for key, value in RUNS[name].items() if key not in ("model", "again")}
    losses = [{"name": loss} for loss in stage["losses"]]
    tokens = STEPS * stage["window"] * stage["batch"]
    raw = {
        "name": name,
        "teacher": [{"model": RUNS[name].get("model", str(folder / "teacher"))}],
        "data": {"train": [str(folder / "text.txt")], "out_of_domain": []},
        "train": {"threads": 1, "checkpointing": RUNS[name].get("again", False)},
        "stage": [stage | {"losses": losses, "tokens": tokens, "lr": 1e-4}],
    }
    return check_recipe(raw, source=name)


def prepare(folder: Path) -> None:
    """A lab teacher that has learned nothing, and a text."""
    lines = (f"Goose {n} flew over {n * n} lakes and {n % 7} hills.\n\n" for n in range(4000))
    text = "".join(lines)
    (folder / "text.txt").write_text(text, "utf-8")
    words = 257  # bytes, and the end of a document
    train_tokenizer([text], vocabulary=words).save_pretrained(folder / "teacher")
    LlamaForCausalLM(lab_config(vocabulary=words)).save_pretrained(folder / "teacher")


def measured(name: str, folder: Path) -> tuple[float, float]:
    """Resident bytes of a process that trains it: with its libraries alone, and at the peak."""
    command = [sys.executable, __file__, "--run", name, "--folder", str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    before, peak = done.stdout.split()[-2:]
    return float(before), float(peak)


def main() -> None:
    """Print the table, or train one run and print its peak."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=RUNS, default=list(RUNS))
    parser.add_argument("--run", choices=RUNS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.run:
        before = resident_mib()
        train_recipe(
            recipe(asked.run, asked.folder),
            asked.folder / asked.run,
            resume=False,
            progress=Silent(),
        )
        print(before * 2**20, peak_bytes())
        return
    with tempfile.TemporaryDirectory() as place:
        prepare(Path(place))
        for name in asked.only:
            said = estimate(recipe(name, Path(place))).memory_bytes
            before, found = measured(name, Path(place))
            print(
                f"{name:12} estimate {said / 1e6:6.0f} MB  measured {found / 1e6:6.0f} MB"
                f" (libraries {before / 1e6:.0f})  ratio {said / found:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
