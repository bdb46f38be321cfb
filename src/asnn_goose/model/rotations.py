"""How a teacher turns queries and keys by position, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import PreTrainedConfig

from asnn_goose.model.families import TeacherError, head_size
from asnn_goose.trace import Rotation


def rotations(config: PreTrainedConfig, *, name: str) -> tuple[Rotation, ...]:
    """The rotation of every layer of a teacher with rotary positions.

    Raises TeacherError for another kind: its angles are not those of a base alone, and to take
    them for such would give every long-range pair a wrong angle.
    """
    layers = range(config.num_hidden_layers)
    turns: Any = getattr(config, "no_rope_layers", None) or [True for _ in layers]
    found = (_rotation(_settings(config, layer), head_size(config), name=name) for layer in layers)
    return tuple(
        rotation if turned else Rotation() for rotation, turned in zip(found, turns, strict=False)
    )


def _settings(config: PreTrainedConfig, layer: int) -> Mapping[str, Any]:
    """What a configuration says of a layer's rotary positions; empty where it says nothing."""
    found: Any = getattr(config, "rope_parameters", None) or {}
    kinds: Any = getattr(config, "layer_types", None)
    by_kind = kinds is not None and kinds[layer] in found
    return dict(found[kinds[layer]] if by_kind else found)


def _rotation(settings: Mapping[str, Any], size: int, *, name: str) -> Rotation:
    kind, share = settings.get("rope_type", "default"), settings.get("partial_rotary_factor", 1.0)
    channels = int(size * share)
    if kind != "default" or channels % 2 or not channels:
        what = (
            f"rope_type = {kind!r}"
            if kind != "default"
            else f"partial_rotary_factor = {share}, {channels} channels of {size}"
        )
        raise TeacherError(
            f"teacher {name!r} has {what}; only plain rotary positions of an even number of "
            "channels can be followed"
        )
    return Rotation(float(settings.get("rope_theta", 10000.0)), 0 if channels == size else channels)


def check_apart(config: PreTrainedConfig, window: int, *, name: str) -> None:
    """Raise TeacherError where the longest document of a window turns the angles of all others.

    Up to the length that a model was made for all angles are as they are in a text alone.
    """
    for layer in range(config.num_hidden_layers):
        _check_apart(_settings(config, layer), config, window, name=name)


def _check_apart(
    settings: Mapping[str, Any], config: PreTrainedConfig, window: int, *, name: str
) -> None:
    kind = settings.get("rope_type", "default")
    alike = settings.get("short_factor") == settings.get("long_factor")
    if kind not in ("dynamic", "longrope") or (kind == "longrope" and alike):
        return
    made_for = settings.get("original_max_position_embeddings") or config.max_position_embeddings
    if window > made_for:
        raise TeacherError(
            f"teacher {name!r} has rope_type = {kind!r}, whose angles follow the longest document"
            f" of a window: with data.resets a window may have {made_for} tokens, not {window}"
        )
