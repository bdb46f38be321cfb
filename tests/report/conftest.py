"""A run folder with everything that verbs write, in small."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

TASK = {"value": 0.5, "error": 0.05, "chance": 0.25}
PLACE = {"rate": 0.3, "dead": 0.01, "information": {"bits": 0.4}}
FILES: dict[str, Any] = {
    "eval": {
        "protocol": {"versions": {"torch": "2.13.0"}, "python": "3.11", "threads": 2},
        "ratios": {"austen": 1.5},
        "measurements": [
            {
                "text": "austen",
                "model": model,
                "score": {"tokens": 1234},
                "perplexity": value,
                "word_perplexity": 2 * value,
                "nats_error": 0.01,
                "bits_per_byte": 1.0,
            }
            for model, value in (("teacher", 20.0), ("student", 30.0))
        ],
        "differences": [
            {"text": "austen", "model": "student", "less": "teacher", "mean": 0.4, "error": 0.01}
        ],
    },
    "stream": {
        "streams": [
            {
                "text": "long.txt",
                "model": "student",
                "by_place": {"0-63": {"mean": 4.0}, "64-255": {"mean": 3.0}, "256+": {"mean": 2.9}},
            }
        ]
    },
    "tasks": {
        "tasks": {role: {"piqa": TASK, "arc_easy": TASK} for role in ("teacher", "student")},
        "relative": {"piqa": {"value": 0.9, "error": 0.1, "same": 0.8}, "arc_easy": None},
        "agreement": {"length": 7.5, "error": 1.0, "whole": 0.1},
        "variety": {"student": {"repeated": {"4": 0.2}, "distinct": {"2": 0.6}}},
        "instructions": {"student": {"followed": 0.5, "stopped": 0.9}},
        "samples": [{"prompt": "A <goose>", "teacher": " flew.", "student": " swam."}],
    },
    "recall": {
        "recall": {
            "student": [
                {"task": "copy", "distance": distance, "right": 64 / distance}
                for distance in (64, 128, 256)
            ]
        }
    },
    "spikes": {
        "gates": [{"name": "dead", "found": 0.01, "wanted": "< 5%", "passed": True}],
        "cka": {"1": 0.9, "2": 0.7},
        "places": [
            {"site": site, "layer": layer, "name": f"blocks.{layer}.{site}", **PLACE}
            for site in ("mixer.key", "mlp.down")
            for layer in (0, 1)
        ],
        "raster": {
            "tokens": ["A", " goose", " flew"],
            "places": {"blocks.0.mixer.key": [[0, 1, -1], [1, 0, 0]]},
        },
    },
    "bench": {
        "rates": [{"decode": 55.0}],
        "density": 0.3,
        "work": [{"part": part, "picojoules": 2e6} for part in ("mixer", "mlp")],
        "dense_picojoules": {"fp16": 2e8},
    },
    "table": {
        "grid": "neurons",
        "rows": [
            {"cell": "lif", "text": "austen", "mean": 0.4, "difference": None, "q": None},
            {
                "cell": "mean",
                "text": "austen",
                "mean": 0.3,
                "difference": {"mean": -0.1, "error": 0.02},
                "q": 0.04,
            },
        ],
    },
    "sensitivity/map": {
        "rows": [[0, 0], [1, 1]],
        "names": ["key", "down"],
        "cost": [[0.1, 0.2], [0.0, 0.3]],
    },
}


@pytest.fixture
def full_run(tmp_path: Path) -> Path:
    folder = tmp_path / "full"
    (folder / "sensitivity").mkdir(parents=True)
    for name, content in FILES.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    step = {
        "stage": "distill",
        "stage_index": 0,
        "step": 1,
        "tokens_total": 400,
        "terms": {"kl": 1.0},
        "lr": 1e-3,
        "grad_norm": 0.5,
        "tokens_per_s": 40.0,
        "memory_bytes": 2_000_000_000,
    }
    lines = [
        step | {"tokens_seen": 100 * n, "seconds": 60.0 * n, "stage_index": n // 3, "step": n}
        for n in range(1, 5)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "recipe.toml").write_text('name = "full"\n')
    return folder
