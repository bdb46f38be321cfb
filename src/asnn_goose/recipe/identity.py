"""What a resumed run must share with the one it continues."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from asnn_goose.data.shards import Shard
from asnn_goose.recipe.schema import Recipe

FREE = (
    "name",
    "data.out_of_domain",
    "eval.",
    "log.",
    "train.threads",
    "train.checkpoint_minutes",
    "train.keep",
)
"""Beginnings of settings that may change when a run is resumed: they do not touch the weights."""

LATER = {
    "data.windows": '"moving"',
    "stage.freeze.momentum": "0.05",
    "stage.freeze.since": "0.5",
    "stage.repeats.alone": "false",
    "train.clip_by": '"all"',
    "train.eps": "1e-08",
    "train.shard": "false",
}
"""Settings with a default that came later, and what runs from before them did."""


def identity(recipe: Recipe, shards: list[Shard]) -> dict[str, str]:
    """What a resumed run must share with the one it continues: settings and texts."""
    settings = dict(flat(recipe.model_dump(mode="json", exclude_none=True)))
    # All that is not known to be harmless must agree: a new setting is safe before anybody has
    # thought of it.
    kept = {k: v for k, v in settings.items() if not k.startswith(FREE) and not _as_before(k, v)}
    for index, text in enumerate(shards):
        # By content: the same name may hold another text today.
        kept[f"text of data.train.{index}"] = json.dumps(asdict(text.meta))
    return kept


def _as_before(place: str, value: str) -> bool:
    return LATER.get(setting_at(place)) == value


def setting_at(place: str) -> str:
    """The setting's own name: its place in a recipe without the numbers of stages and the like."""
    return ".".join(part for part in place.split(".") if not part.isdigit())


def flat(values: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Every single value under its dotted place, as an override would name it."""
    inner: Mapping[str, Any] | None = None
    if isinstance(values, Mapping):
        inner = values
    elif isinstance(values, list | tuple):
        inner = {str(index): value for index, value in enumerate(values)}
    if inner is None:
        yield place, json.dumps(values)
        return
    for key, value in inner.items():
        yield from flat(value, f"{place}.{key}" if place else key)
