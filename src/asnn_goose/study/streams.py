"""Texts read in one go by a student, its teacher and others: losses, by place, paired by block."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from asnn_goose import disk
from asnn_goose.eval.comparison import finite
from asnn_goose.eval.readers.reader import Reader
from asnn_goose.eval.stream import BLOCK, Streamed, stream
from asnn_goose.eval.text_bytes import text_bytes
from asnn_goose.eval.texts import Text, tokens_of
from asnn_goose.eval.watch import Watch, unwatched
from asnn_goose.eval.window_errors import Difference, difference
from asnn_goose.eval.word_counts import word_table
from asnn_goose.numbers import ALL
from asnn_goose.places import run_recipe
from asnn_goose.recipe import load_recipe
from asnn_goose.recipe.read_texts import trained_hashes
from asnn_goose.study.evaluate import (
    TEACHER,
    Request,
    check_vocabulary,
    models_of,
    texts_of,
)
from asnn_goose.subject.readers import reader_of, torch_reader
from asnn_goose.subject.torch_model import load_tokenizer

TOKENS = 32_000
"""Tokens of a text, from its beginning, unless told otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """What came out: (text, role) -> numbers."""

    models: Mapping[str, str]
    segment: int | None
    found: Mapping[tuple[str, str], Streamed]

    def differences(self) -> dict[tuple[str, str], Difference]:
        """(text, role) -> nats per token more than the first model's, paired by block."""
        first = next(iter(self.models))
        return {
            (text, role): difference([row.blocks], [self.found[text, first].blocks])
            for (text, role), row in self.found.items()
            if role != first
        }

    def as_dict(self) -> dict[str, Any]:
        """For a JSON file."""
        return {
            "models": dict(self.models),
            "segment": self.segment,
            "block": BLOCK,
            "streams": [
                {"text": text, "model": role, **finite(row.as_dict())}
                for (text, role), row in self.found.items()
            ],
            "differences": [
                {"text": text, "model": role, **finite(found._asdict())}
                for (text, role), found in self.differences().items()
            ],
        }

    def write(self, file: Path) -> None:
        """As JSON."""
        file.parent.mkdir(parents=True, exist_ok=True)
        disk.write_text(file, json.dumps(self.as_dict(), indent=1, allow_nan=False) + "\n")


def stream_models(
    request: Request,
    *,
    engine: str | None = None,
    watch: Watch = unwatched,
    tell: Callable[[str], None] = lambda said: None,
) -> Streams:
    """Read the texts of a request with every model of it; its window is the segment.

    Raises SubjectError, DataError, RecipeError, or what loading a model raises.
    """
    recipe_file = run_recipe(request.model)
    recipe = load_recipe(recipe_file) if recipe_file else None
    texts = texts_of(request, recipe, hashes=trained_hashes(request.model))
    models, tokenizer = models_of(request, recipe), load_tokenizer(request.model)
    for name in models.values():
        check_vocabulary(request.model, tokenizer, name, load_tokenizer(name))
    limit = request.tokens or TOKENS
    ids = {text.name: tokens_of(text, tokenizer) for text in texts}
    if limit != ALL:
        ids = {name: ids_N[: limit + 1] for name, ids_N in ids.items()}
    options: dict[str, Any] = {
        "segment": request.window,
        "bytes_V": text_bytes(tokenizer),
        "words": word_table(tokenizer),
    }
    found: dict[tuple[str, str], Streamed] = {}
    for role, name in models.items():
        reader = (
            torch_reader(name) if role == TEACHER else reader_of(name, engine=engine, tell=tell)
        )
        found |= _read(reader, role, texts, ids, options, watch)
    return Streams(models=models, segment=request.window, found=found)


def _read(
    reader: Reader,
    role: str,
    texts: Sequence[Text],
    ids: Mapping[str, Any],
    options: Mapping[str, Any],
    watch: Watch,
) -> dict[tuple[str, str], Streamed]:
    """One model on all texts, with words as their originals count them."""
    found = {}
    total = sum(len(ids_N) - 1 for ids_N in ids.values())
    with watch(f"{role} {reader.name}", total) as advance:
        for text in texts:
            began = time.perf_counter()
            tokens = np.asarray(ids[text.name]).tolist()
            row = stream(reader, tokens, progress=advance, **options)
            score = replace(row.score, words=row.score.words * text.words)
            seconds = time.perf_counter() - began
            found[text.name, role] = replace(row, score=score, seconds=seconds)
    return found
