"""How a teacher turns queries and keys by position, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from asnn_goose.model.families import TeacherError, head_size
from asnn_goose.trace import Rotation


def rotations(model: PreTrainedModel, *, name: str) -> tuple[Rotation, ...]:
    """The rotation of every layer of a teacher with rotary positions.

    Raises TeacherError for another kind: its angles are not those of a base alone, and to take
    them for such would give every long-range pair a wrong angle.
    """
    config = model.config
    layers = range(config.num_hidden_layers)
    turns: Any = getattr(config, "no_rope_layers", None) or [True for _ in layers]
    found = (_rotation(model, layer, name=name) for layer in layers)
    return tuple(
        rotation if turned else Rotation() for rotation, turned in zip(found, turns, strict=False)
    )


def _settings(config: PreTrainedConfig, layer: int) -> Mapping[str, Any]:
    """What a configuration says of a layer's rotary positions; empty where it says nothing."""
    found: Any = getattr(config, "rope_parameters", None) or {}
    kinds: Any = getattr(config, "layer_types", None)
    by_kind = kinds is not None and kinds[layer] in found
    return dict(found[kinds[layer]] if by_kind else found)


def _rotation(model: PreTrainedModel, layer: int, *, name: str) -> Rotation:
    settings, size = _settings(model.config, layer), head_size(model.config)
    theta = float(settings.get("rope_theta", 10000.0))
    # From the angles themselves: most families turn whole heads whatever partial_rotary_factor is.
    found, channels = _angles(model, layer), 2 * len(_angles(model, layer))
    plain = theta ** -(torch.arange(0, channels, 2) / max(channels, 1))
    kind, share = settings.get("rope_type", "default"), settings.get("partial_rotary_factor", 1.0)
    if kind != "default" or not channels or not torch.allclose(found.cpu(), plain, rtol=1e-4):
        what = (
            f"rope_type = {kind!r}"
            if kind != "default"
            else f"partial_rotary_factor = {share} of {size} channels"
        )
        raise TeacherError(
            f"teacher {name!r} has {what}; only plain rotary positions of an even number of "
            "channels can be followed"
        )
    return Rotation(theta, 0 if channels == size else channels)


def _rotary(model: PreTrainedModel) -> Any:
    """The module that makes a model's angles; None where positions are learned."""
    return next((m for m in model.modules() if hasattr(m, "compute_default_rope_parameters")), None)


def _angles(model: PreTrainedModel, layer: int) -> Tensor:
    """How far a layer turns each of its pairs of channels per token."""
    rotary, kinds = _rotary(model), getattr(model.config, "layer_types", None)
    own = getattr(rotary, f"{kinds[layer]}_inv_freq", None) if kinds else None
    angles: Tensor = rotary.inv_freq if own is None else own
    if angles.is_meta:  # a model of which only the shape is there
        kind = kinds[layer] if kinds else None
        angles, _ = rotary.compute_default_rope_parameters(model.config, layer_type=kind)
    return angles


def check_turned(model: PreTrainedModel, *, name: str) -> None:
    """Raise TeacherError where scaled positions turn other channels than the family can.

    Transformers counts those of scaled positions by partial_rotary_factor in every family, though
    most turn whole heads.
    """
    rotary, kinds = _rotary(model), getattr(model.config, "layer_types", None)
    for layer in range(model.config.num_hidden_layers if rotary else 0):
        kind = kinds[layer] if kinds else None
        plain, _ = rotary.compute_default_rope_parameters(model.config, layer_type=kind)
        if (found := len(_angles(model, layer))) != len(plain):
            share = _settings(model.config, layer).get("partial_rotary_factor")
            raise TeacherError(
                f"teacher {name!r} has partial_rotary_factor = {share}, {2 * found} channels of a"
                f" head, and its family turns {2 * len(plain)}"
            )


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
