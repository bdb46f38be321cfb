"""Texts read in one go by a student, its teacher and others: losses, by place, paired by block."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from asnn_goose.eval.comparison import finite
from asnn_goose.eval.readers.reader import Reader
from asnn_goose.eval.stream import BLOCK, Streamed, stream
from asnn_goose.eval.text_bytes import text_bytes
from asnn_goose.eval.texts import Text, tokens_of
from asnn_goose.eval.watch import Watch, unwatched
from asnn_goose.eval.window_errors import Difference, difference
from asnn_goose.eval.word_counts import word_table
from asnn_goose.numbers import ALL
from asnn_goose.study.findings import Findings
from asnn_goose.study.request import Request, reader_for

TOKENS = 32_000
"""Tokens of a text, from its beginning, unless told otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams(Findings):
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
    recipe = request.recipe()
    texts = request.texts(recipe)
    models = request.models(recipe)
    tokenizer = request.tokenizer(models)
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
        reader = reader_for(role, name, engine=engine, tell=tell)
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
