"""Recall against distance, of a student, its teacher and others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from asnn_goose.eval.comparison import finite
from asnn_goose.eval.recall import TASKS, Recalled, recall, tokens_read
from asnn_goose.eval.watch import Watch, unwatched
from asnn_goose.study.findings import Findings
from asnn_goose.study.request import Request, reader_for


@dataclass(frozen=True, slots=True, kw_only=True)
class RecallStudy(Findings):
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
                role: [finite(asdict(row)) for row in rows] for role, rows in self.found.items()
            },
        }


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
    models = request.models(request.recipe())
    found = {}
    for role, name in models.items():
        reader = reader_for(role, name, engine=engine, tell=tell)
        total = tokens_read(reader.vocabulary, tuple(TASKS), distances)
        with watch(f"{role} {name}", total) as advance:
            found[role] = recall(reader, distances=distances, seed=seed, advance=advance)
    return RecallStudy(models=models, seed=seed, found=found)
