"""Stands in for a cell's process: trained and scored in a blink, scores known beforehand.

$FAKE_FAIL names runs that fail, $FAKE_SLEEP seconds that training takes.
"""

from __future__ import annotations

import json
import os
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

TASK: dict[str, Any] = json.loads(sys.argv[1])
FOLDER, RECIPE = Path(TASK["folder"]), Path(TASK["recipe"])
SETTINGS = tomllib.loads(RECIPE.read_text())


def ended(failure: str | None) -> None:
    Path(TASK["outcome"]).write_text(json.dumps({"failure": failure}))
    sys.exit(2 if failure else 0)


def train() -> None:
    begun = (FOLDER / "recipe.toml").exists()
    (FOLDER / "checkpoints").mkdir(parents=True, exist_ok=True)
    (FOLDER / "recipe.toml").write_text(RECIPE.read_text())
    print("resumed" if begun else "began", os.environ["OMP_NUM_THREADS"])
    time.sleep(float(os.environ.get("FAKE_SLEEP", "0")))
    if SETTINGS["name"] in os.environ.get("FAKE_FAIL", "").split():
        ended("error: training diverged")
    (FOLDER / "model").mkdir(exist_ok=True)
    line = {"tokens_seen": 1000, "seconds": 4.0}
    (FOLDER / "metrics.jsonl").write_text(json.dumps(line) + "\n")


def score() -> None:
    """The student loses 2.7 + seed / 10 + lr nats a token, its teacher 2.5."""
    lost = 2.7 + SETTINGS["seed"] / 10 + SETTINGS["stage"][0]["lr"]
    scoring = TASK["scoring"]
    content = {
        "protocol": {"window": scoring["window"], "limit": scoring["tokens"]},
        "texts": {text: [[text, "test"]] for text in scoring["on"]},
        "measurements": [
            {"text": text, "model": role, "score": {"nll_sum": 100 * nats, "tokens": 100}}
            for text in scoring["on"]
            for role, nats in (("teacher", 2.5), ("student", lost))
        ],
    }
    Path(TASK["scores"]).write_text(json.dumps(content))


train()
score()
ended(None)
