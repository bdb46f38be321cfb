"""Every setting of a student, and which of them cannot be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from asnn_goose.shape.half import Half
from asnn_goose.shape.limits import (
    ByLayer,
    Fault,
    Free,
    Name,
    Number,
    Only,
    Rate,
    Setting,
    Size,
    Switch,
    Tokens,
    Words,
    setting,
    token_ids,
)
from asnn_goose.shape.mixers import MIXERS
from asnn_goose.shape.mlps import MLPS
from asnn_goose.shape.packed_error import wrong
from asnn_goose.shape.slots import COLUMNS

MODEL_TYPE = "asnn_goose"

TOKENS = {
    "bos_token_id": "int | None",
    "eos_token_id": "int | list[int] | None",
    "pad_token_id": "int | None",
}
"""Ids that a tokenizer tells, and what they may be."""

NEW_IN_3 = (
    "norm_place",
    "parallel",
    "logit_cap",
    "n_positions",
    "rope_thetas",
    "rope_channels",
    "qk_norm",
)
"""Settings that packed files have from version 3 on."""


_HALVES = {"mixer": MIXERS, "mlp": MLPS}


def _packed(table: Mapping[str, Half]) -> Words:
    return Words(tuple(name for name, half in table.items() if half.engine))


_SHARED: dict[str, Setting] = {
    # One without a description here is a student of PyTorch alone, whose own table names it.
    "mixer": setting("rwkv7", Name(), packed=_packed(MIXERS)),
    "mlp": setting("channel_mix", Name(), packed=_packed(MLPS)),
    # Upper limits keep every product of sizes within what the engine can address.
    "vocab_size": setting(49152, Size(), packed=Size(most=1 << 24)),
    "hidden_size": setting(576, Size(), packed=Size(most=COLUMNS)),
    "num_hidden_layers": setting(30, Size(), packed=Size(most=1 << 10)),
    "num_attention_heads": setting(9, Size(), packed=Size(most=1 << 12)),
    "head_size": setting(64, Size()),
    "intermediate_size": setting(1536, Size(), packed=Size(most=COLUMNS)),
    "token_shift": setting(True, Switch()),  # of the mixer and of the channel mix
    "rope_theta": setting(10000.0, Number(most=1e12)),
    "rope_thetas": setting(None, ByLayer(most=1e12), later=True),
    "qkv_bias": setting(False, Switch()),
    "output_bias": setting(False, Switch()),
    "mlp_bias": setting(False, Switch()),
    "hidden_act": setting("silu", Name()),
    "norm": setting("layer", Words(("rms", "layer", "none")), packed=Words(("rms", "layer"))),
    "norm_eps": setting(1e-5, Number(most=1.0)),
    "norm_place": setting("before", Words(("before", "after", "both")), later=True),
    "parallel": setting(False, Switch(), later=True),
    "logit_cap": setting(0.0, Number(most=1e6, or_none=True), later=True),
    "embedding_norm": setting(True, Switch()),
    "tie_word_embeddings": setting(False, Switch()),
    # What only training does, a packed file does not say.
    "feedback": setting(False, Switch(), packed=Only(False)),
    "dropout": Setting(default=0.0, student=Rate(), packed=None),
    "n_positions": setting(0, Size(least=0), packed=Size(least=0, most=1 << 20), later=True),
    # What no tokenizer can produce is left out of a packed file.
    "real_vocab_size": setting(0, Size(least=0), packed=Only(0)),
    # A packed file says in its own table of matrices what became of `precision`.
    "precision": Setting(default=None, student=Free(kind="dict[str, Any] | None"), packed=None),
    **{name: setting(None, Free(kind=kind), packed=Tokens()) for name, kind in TOKENS.items()},
}
"""Settings of every student, whatever its halves."""


def halves(config: Mapping[str, Any]) -> tuple[Half, Half]:
    """Mixer and MLP of a configuration. Raises ValueError for one that is not described here."""
    found = []
    for name, table in _HALVES.items():
        if config[name] not in table:
            raise ValueError(f"{name} = {config[name]!r}: choose one of {', '.join(table)}")
        found.append(table[config[name]])
    return found[0], found[1]


def all_settings() -> dict[str, Setting]:
    """Every setting that a student of any mixer and MLP may have."""
    found = dict(_SHARED)
    for half in (*MIXERS.values(), *MLPS.values()):
        found |= half.settings
    return found


def settings_of(config: Mapping[str, Any]) -> dict[str, Setting]:
    """Every setting with its limits, as the mixer and MLP that `config` names have them."""
    found = dict(_SHARED)
    for half in _described(config):
        found |= half.settings
    return found


def _described(config: Mapping[str, Any]) -> Iterator[Half]:
    """Mixer and MLP of a configuration, as far as they are described here."""
    for name, table in _HALVES.items():
        word = config.get(name)
        if isinstance(word, str) and word in table:
            yield table[word]


def completed(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that are left at 0 and follow from others, as the halves of `config` have it."""
    found: dict[str, Any] = {}
    for half in _described(config):
        found |= half.completed(config)
    return found


def fault(config: Mapping[str, Any], *, packed: bool = False) -> Fault | None:
    """The first setting that a student, or with `packed` the engine, cannot have; None: all fit."""
    for name, known in settings_of(config).items():
        limit = known.packed if packed else known.student
        silent = known.later or isinstance(limit, Only)
        if limit is None or (silent and name not in config):
            continue  # files of older versions do not say what they do not have
        if not limit.fits(config.get(name)):
            return Fault(name, config.get(name), limit.right)
    # Together last: a pair of settings can be judged only once each by itself is sound.
    return next(_together(config, packed=packed), None)


def _together(config: Mapping[str, Any], *, packed: bool) -> Iterator[Fault]:
    """Settings that fit each by itself, but not together."""
    for half in _described(config):
        yield from half.faults(config)
    thetas, layers = config.get("rope_thetas"), config["num_hidden_layers"]
    if thetas is not None and len(thetas) != layers:
        yield Fault("rope_thetas", thetas, f"null, or {layers} numbers, one for every layer")
    words = config["vocab_size"]
    if config.get("real_vocab_size", 0) > words:
        yield Fault("real_vocab_size", config["real_vocab_size"], f"0, or at most {words}")
    if not packed:
        return
    # The product is what an engine's list of spikes must be able to name; both factors may fit
    # alone.
    inner = config["num_attention_heads"] * config["head_size"]
    if inner > COLUMNS:
        yield Fault("num_attention_heads × head_size", inner, f"at most {COLUMNS}")
    for name in TOKENS:
        ids: list[Any] = token_ids(config.get(name))
        if any(token is not None and token >= words for token in ids):
            right = f"null, or one or more ids below {words}"
            yield Fault(name, config[name], right)


def packed_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of a configuration decides what a packed model computes; missing token ids are None."""
    return {
        name: config.get(name, known.default if known.later else None)
        for name, known in settings_of(config).items()
        if known.packed is not None and not isinstance(known.packed, Only)
    } | {"model_type": MODEL_TYPE}


def needs_3(config: Mapping[str, Any]) -> bool:
    """Whether a packed model is one that readers of version 2 would take for another."""
    known = settings_of(config)
    return any(config.get(name, known[name].default) != known[name].default for name in NEW_IN_3)


def checked_settings(config: dict[str, Any], *, file: Path) -> dict[str, Any]:
    """The settings that decide what a model computes, each of the right type and size.

    Whatever else stands in the file is left out; missing token ids are None. Raises PackedError.
    """
    if config.get("model_type") != MODEL_TYPE:
        raise wrong(file, "model_type", config.get("model_type"), MODEL_TYPE)
    if (found := fault(config, packed=True)) is not None:
        raise wrong(file, found.setting, found.found, found.right)
    return packed_settings(config)
