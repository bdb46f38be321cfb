"""A teacher's configuration, read from its folder and checked before any weight."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from transformers import AutoConfig, PreTrainedConfig

from asnn_goose.model.families import FAMILIES, TeacherError, family_of, head_size
from asnn_goose.model.weight_files import readable

ROTARY = ("rope_parameters", "rope_scaling")
"""Tables of rotary positions; they may hold one for each kind of layer."""

KIND = ("rope_type", "type")
"""Its name, as such a table has it."""

LISTS = frozenset({"short_factor", "long_factor"})
"""A number for each pair of channels."""

SHARES = frozenset({"partial_rotary_factor", "rotary_pct"})
ABOVE_ZERO = LISTS | SHARES | {
    "rope_theta", "factor", "low_freq_factor", "high_freq_factor",
    "original_max_position_embeddings",
}  # fmt: skip
NUMBERS = ABOVE_ZERO | {"attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim"}
"""What angles are made of; other keys are a model's own, and Transformers passes over them."""


def load_config(folder: str | Path, *, name: str) -> PreTrainedConfig:
    """The configuration in a folder or on the Hub, of a supported family.

    Raises TeacherError for one that cannot be read, and for numbers that mean nothing.
    """
    with readable(name, folder):
        stated, _ = PreTrainedConfig.get_config_dict(folder)
        if not isinstance(stated, dict):
            raise TypeError("config.json holds a list: must be a JSON object")
        # On what the file says: Transformers warns of such numbers at most, and goes on with them.
        if stated.get("model_type") in FAMILIES:
            check_numbers(stated, name=name)
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        family_of(config, name=name)
        check_lengths(config, name=name)
    return cast(PreTrainedConfig, config)


def check_numbers(stated: Mapping[str, Any], *, name: str) -> None:
    """Raise TeacherError for what is not finite, and for rotary positions that give no angle."""
    for key, value in stated.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise TeacherError(f"teacher {name!r}: {key} = {value}: must be a finite number")
    for key in ROTARY:
        if not isinstance(stated.get(key), Mapping | None):
            raise TeacherError(f"teacher {name!r}: {key} = {stated[key]!r}: must be a table")
    plain = {key: stated[key] for key in ABOVE_ZERO & stated.keys() if stated[key] is not None}
    for place, table in [("", plain), *_tables({key: stated.get(key) for key in ROTARY})]:
        for key, value in table.items():
            if wanted := _wanted(key, value, kind=table.get("rope_type", table.get("type"))):
                raise TeacherError(f"teacher {name!r}: {place}{key} = {value!r}: must be {wanted}")


def _tables(table: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The tables within one, with the place of their keys and without tables in them."""
    for key, inner in table.items():
        if isinstance(inner, Mapping):
            below = f"{place}{key}."
            yield below, {k: v for k, v in inner.items() if not isinstance(v, Mapping)}
            yield from _tables(inner, below)


def _wanted(key: str, value: Any, *, kind: Any) -> str:
    """What a value of a rotary table must be; nothing where it is that."""
    if key in KIND:
        return "" if isinstance(value, str) else "a word"
    # Of what may be left out null is as if it were; longrope counts the factor itself.
    optional = key not in ABOVE_ZERO or (kind, key) == ("longrope", "factor")
    if key not in NUMBERS or (value is None and optional):
        return ""
    numbers = value if isinstance(value, list) and key in LISTS else [value]
    least, most = (0.0 if key in ABOVE_ZERO else -math.inf), (1.0 if key in SHARES else math.inf)
    if isinstance(value, list) == (key in LISTS) and all(
        _is_number(one) and least < one <= most for one in numbers
    ):
        return ""
    wanted = "a list of numbers" if key in LISTS else "a number"
    return wanted + " above 0" * (least == 0) + " and at most 1" * (most == 1)


def check_lengths(config: PreTrainedConfig, *, name: str) -> None:
    """Raise TeacherError where there is not one factor for each pair of turned channels."""
    own = getattr(config, "rope_parameters", None) or {}
    for place, table in _tables({"rope_parameters": own}):
        for key in sorted(LISTS & table.keys()):
            pairs = int(head_size(config) * (table.get("partial_rotary_factor") or 1.0)) // 2
            if len(table[key]) != pairs:
                raise TeacherError(
                    f"teacher {name!r}: {place}{key} has {len(table[key])} numbers: must have"
                    f" {pairs}, one for each pair of channels that is turned"
                )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
