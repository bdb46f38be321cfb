"""What config.json of a packed model must say before its tensors are looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from asnn_goose.shape.errors import wrong

MODEL_TYPE = "asnn_goose"

SIZES: dict[str, int] = {
    "vocab_size": 1 << 24,
    "hidden_size": 1 << 16,
    "num_hidden_layers": 1 << 10,
    "num_attention_heads": 1 << 12,
    "head_size": 1 << 10,
    "intermediate_size": 1 << 18,
    "decay_rank": 1 << 14,
    "rate_rank": 1 << 14,
    "value_rank": 1 << 14,
    "gate_rank": 1 << 14,
}
"""Sizes, from 1 up to these, so that no product of them can get out of hand."""

MIXER_SIZE = 1 << 16

SWITCHES = (
    "token_shift",
    "removal_key",
    "key_replacement",
    "bonus",
    "group_norm",
    "rope",
    "qkv_bias",
    "output_bias",
    "mlp_bias",
    "embedding_norm",
    "tie_word_embeddings",
)

WORDS: dict[str, tuple[str, ...]] = {
    "model_type": (MODEL_TYPE,),
    "mixer": ("rwkv7",),
    "gate": ("sigmoid", "one_plus", "none"),
    "v_first": ("mix", "detached", "none"),
    "mlp": ("gated", "channel_mix"),
    "norm": ("rms", "layer"),
}

TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")


def is_size(value: object) -> bool:
    """True for a whole number of at least 0 that is no truth value."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def checked_settings(config: dict[str, Any], *, file: Path) -> dict[str, Any]:
    """The settings that decide what a model computes, each of the right type and size.

    Whatever else stands in the file is left out; missing token ids are None. Raises PackedError.
    """
    settings = {setting: _checked(config, setting, file) for setting in WORDS}
    settings |= {setting: _checked(config, setting, file) for setting in (*SIZES, *SWITCHES)}
    settings |= {setting: _checked(config, setting, file) for setting in ("norm_eps", "rope_theta")}
    act = config.get("hidden_act")
    if not isinstance(act, str) or not act.isidentifier():
        raise wrong(file, "hidden_act", act, "the name of an activation")
    mixer_size = settings["num_attention_heads"] * settings["head_size"]
    if mixer_size > MIXER_SIZE:
        raise wrong(file, "num_attention_heads × head_size", mixer_size, f"at most {MIXER_SIZE}")
    if settings["rope"] and settings["head_size"] % 2:
        raise wrong(file, "head_size", settings["head_size"], "even, for rope = true")
    tokens = {name: _token(config, name, settings["vocab_size"], file) for name in TOKENS}
    return settings | {"hidden_act": act} | tokens


def _checked(config: dict[str, Any], setting: str, file: Path) -> Any:
    if setting not in config:
        raise wrong(file, setting, None, "given")
    value = config[setting]
    fits, right = _fits(setting, value)
    if not fits:
        raise wrong(file, setting, value, right)
    return value


def _fits(setting: str, value: Any) -> tuple[bool, str]:
    """Whether a value fits a setting, and what would."""
    if setting in WORDS:
        return isinstance(value, str) and value in WORDS[setting], " or ".join(WORDS[setting])
    if setting in SIZES:
        fits = is_size(value) and 1 <= value <= SIZES[setting]
        return fits, f"a whole number from 1 to {SIZES[setting]}"
    if setting in SWITCHES:
        return isinstance(value, bool), "true or false"
    number = isinstance(value, int | float) and not isinstance(value, bool)
    highest = 1.0 if setting == "norm_eps" else 1e12
    return number and 0 < value <= highest, f"above 0, up to {highest:g}"


def _token(config: dict[str, Any], name: str, vocabulary: int, file: Path) -> Any:
    value = config.get(name)
    if value is None:
        return None
    ids: list[Any] = value if isinstance(value, list) and value else [value]
    if not all(is_size(token) and token < vocabulary for token in ids):
        raise wrong(file, name, value, f"null, or one or more ids below {vocabulary}")
    return value
