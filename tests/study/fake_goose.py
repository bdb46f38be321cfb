"""Stands in for the command line: `distill` and `eval` in a blink, scores known beforehand.

$FAKE_FAIL names runs that fail, $FAKE_SLEEP seconds that training takes.
"""

from __future__ import annotations

import json
import os
import sys
import time
import tomllib
from pathlib import Path


def option(name: str) -> str:
    return sys.argv[sys.argv.index(name) + 1]


def distill(recipe: Path, out: Path) -> None:
    settings = tomllib.loads(recipe.read_text())
    (out / "checkpoints").mkdir(parents=True, exist_ok=True)
    (out / "recipe.toml").write_text(recipe.read_text())
    print("resumed" if "--resume" in sys.argv else "began", os.environ["OMP_NUM_THREADS"])
    time.sleep(float(os.environ.get("FAKE_SLEEP", "0")))
    if settings["name"] in os.environ.get("FAKE_FAIL", "").split():
        print("saved nothing\nerror: training diverged\n", file=sys.stderr)
        sys.exit(2)
    (out / "model").mkdir(exist_ok=True)
    line = {"tokens_seen": 1000, "seconds": 4.0}
    (out / "metrics.jsonl").write_text(json.dumps(line) + "\n")


def evaluate(run: Path) -> None:
    """The student loses 2.7 + seed / 10 + lr nats a token, its teacher 2.5."""
    settings = tomllib.loads((run / "recipe.toml").read_text())
    lost = 2.7 + settings["seed"] / 10 + settings["stage"][0]["lr"]
    texts = [word for at, word in enumerate(sys.argv) if sys.argv[at - 1] == "--on"]
    content = {
        "protocol": {"window": int(option("--window")), "limit": int(option("--tokens"))},
        "texts": {text: [[text, "test"]] for text in texts},
        "measurements": [
            {"text": text, "model": role, "score": {"nll_sum": 100 * nats, "tokens": 100}}
            for text in texts
            for role, nats in (("teacher", 2.5), ("student", lost))
        ],
    }
    Path(option("--json")).write_text(json.dumps(content))


if sys.argv[1] == "distill":
    distill(Path(sys.argv[2]), Path(option("--out")))
else:
    evaluate(Path(sys.argv[2]))
