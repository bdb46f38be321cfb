"""Recall against distance, of a student, its teacher and others."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asnn_goose import disk
from asnn_goose.eval.comparison import finite
from asnn_goose.eval.recall import TASKS, Recalled, recall, tokens_read
from asnn_goose.eval.watch import Watch, unwatched
from asnn_goose.places import run_recipe
from asnn_goose.recipe import load_recipe
from asnn_goose.study.evaluate import TEACHER, Request, models_of
from asnn_goose.subject.readers import reader_of, torch_reader


@dataclass(frozen=True, slots=True, kw_only=True)
class RecallStudy:
    """Role -> what was recalled."""

    models: Mapping[str, str]
    seed: int
    found: Mapping[str, Sequence[Recalled]]

    def as_dict(self) -> dict[str, Any]:
        """For a JSON file."""
        return {
            "models": dict(self.models),
            "seed": self.seed,
            "recall": {
                role: [finite(row.as_dict()) for row in rows] for role, rows in self.found.items()
            },
        }

    def write(self, file: Path) -> None:
        """As JSON."""
        file.parent.mkdir(parents=True, exist_ok=True)
        disk.write_text(file, json.dumps(self.as_dict(), indent=1, allow_nan=False) + "\n")


def study_recall(
    request: Request,
    *,
    distances: Sequence[int],
    seed: int = 0,
    engine: str | None = None,
    watch: Watch = unwatched,
    tell: Callable[[str], None] = lambda said: None,
) -> RecallStudy:
    """Ask every model of a request. Raises SubjectError, or what loading a model raises."""
    recipe_file = run_recipe(request.model)
    models = models_of(request, load_recipe(recipe_file) if recipe_file else None)
    found = {}
    for role, name in models.items():
        reader = (
            torch_reader(name) if role == TEACHER else reader_of(name, engine=engine, tell=tell)
        )
        total = tokens_read(reader.vocabulary, tuple(TASKS), distances)
        with watch(f"{role} {name}", total) as advance:
            found[role] = recall(reader, distances=distances, seed=seed, advance=advance)
    return RecallStudy(models=models, seed=seed, found=found)
