"""Configurations and metadata that a packed model cannot have, and what is said of them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from asnn_goose.format.packed import CONFIG, PackedError, read_packed
from asnn_goose.shape.settings import settings_of

Packed = Callable[..., Path]
DOWN, SITE = "blocks.0.mlp.down", "blocks.0.mixer.k"
ANALOGUE = '{"steps": 0, "code": "rate", "rotate": false}'
ROTATED = '{"steps": 1, "code": "rate", "rotate": true}'
SPIKING = '{"steps": 1, "code": "rate", "rotate": false}'


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "llama"}, r"model_type is 'llama', must be asnn_goose"),
        ({"mixer": "mamba"}, r"mixer is 'mamba', must be rwkv7"),
        ({"hidden_size": "64"}, r"hidden_size is '64', must be a whole number from 1 to 65536"),
        ({"hidden_size": 0}, r"hidden_size is 0"),
        ({"hidden_size": 10**9}, r"hidden_size is 1000000000"),
        ({"num_hidden_layers": True}, r"num_hidden_layers is True"),
        ({"rope": 1}, r"rope is 1, must be true or false"),
        ({"norm_eps": float("nan")}, r"norm_eps is nan, must be above 0, up to 1"),
        ({"norm_eps": 0}, r"norm_eps is 0"),
        ({"rope_theta": 10**400}, r"rope_theta is 1000"),
        ({"head_size": 24}, r"head_size is 24, must be a multiple of 16 from 16 to 128"),
        ({"num_attention_heads": 4096, "head_size": 128}, r"num_attention_heads × head_size"),
        ({"eos_token_id": 70}, r"eos_token_id is 70, must be null, or one or more ids below 70"),
        ({"eos_token_id": [3, "x"]}, r"eos_token_id is \[3, 'x'\]"),
        ({"hidden_act": 3}, r"hidden_act is 3"),
        ({"hidden_act": "mish"}, r"hidden_act is 'mish', must be silu or swish or gelu or"),
        ({"intermediate_size": 1 << 17}, r"intermediate_size is 131072, must be .* to 65536"),
        ({"qk_norm": 1}, r"qk_norm is 1, must be true or false"),
        ({"real_vocab_size": 8}, r"real_vocab_size is 8, must be 0"),
        ({"n_positions": -8}, r"n_positions is -8, must be a whole number from 0"),
        ({"n_positions": 8}, r"tensor 'positions.weight' is None"),
        ({"norm_place": "after"}, r"tensor 'blocks.0.mixer_after.weight' is None"),
        ({"logit_cap": -1.0}, r"logit_cap is -1.0, must be 0, or above 0, up to"),
        ({"rope_thetas": [1.0]}, r"rope_thetas is \[1.0\], must be null, or 2 numbers"),
        ({"rope_thetas": [1.0, -1.0]}, r"rope_thetas is .*null, or for every layer a number"),
        ({"rope_channels": 33}, r"rope_channels is 33, must be a multiple of 2 from 0"),
        ({"rope_channels": 64}, r"rope_channels is 64, must be at most the head size 32"),
        (
            {"hidden_size": 128},
            r"shape of tensor 'embedding.weight' is \[70, 64\], must be \[70, 1",
        ),
        (
            {"num_hidden_layers": 1},
            r"'blocks.1.mixer.k' is 'there', must be a projection or site",
        ),
        ({"num_hidden_layers": 900}, r"tensor 'blocks.2.mixer_norm.weight' is None, must be F32"),
        ({"mlp": "channel_mix"}, r"tensor 'blocks.0.mlp.key.weight' is None"),
        ({"bonus": False}, r"tensor 'blocks.0.mixer.bonus' is 'there'"),
        ({"tie_word_embeddings": None}, r"tie_word_embeddings is None"),
    ],
)
def test_a_wrong_configuration_is_explained(
    changes: dict[str, Any], words: str, packed: Packed
) -> None:
    folder = packed()
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(config | changes))
    with pytest.raises(PackedError, match=words) as error:
        read_packed(folder)
    assert str(folder) in str(error.value)


def test_every_setting_must_be_there(packed: Packed, fuzz: ModuleType) -> None:
    folder = packed()
    config = json.loads((folder / CONFIG).read_text())
    # Files from before a setting do not say it, and have its default.
    later = {name for name, known in settings_of(config).items() if known.later}
    for setting in config.keys() - later - {"eos_token_id"}:
        (folder / CONFIG).write_text(json.dumps({k: v for k, v in config.items() if k != setting}))
        with pytest.raises(PackedError, match=f"{setting} is None"):
            read_packed(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "\ufffe", "[" * 100_000, " " * (1 << 21)])
def test_a_broken_configuration_is_explained(text: str, packed: Packed) -> None:
    folder = packed()
    (folder / CONFIG).write_text(text)
    with pytest.raises(PackedError, match=re.escape(CONFIG)):
        read_packed(folder)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("format", "gguf", r"metadata 'format' is 'gguf', must be 'asnn_goose_packed'"),
        ("version", "6", r"metadata 'version' is '6', must be '1' or '2' or '3' or '4' or '5'"),
        ("crc32", "00000000", r"metadata 'crc32' is '00000000', must be '[0-9a-f]{8}': damaged"),
        ("matrices", "[", r"metadata 'matrices' is not sound JSON"),
        ("matrices", '{"x": {}}', r"matrices: 'x' is 'there', must be a projection"),
        ("matrices", '{"embedding": {}}', r"matrices: 'embedding'"),
        ("matrices", '{"blocks.0.mixer.gate.up": {}}', r"matrices: 'blocks.0.mixer.gate.up'"),
        ("matrices", '{"lm_head": {}}', r"matrices: 'lm_head'"),
        ("matrices", f'{{"{DOWN}": 3}}', r"matrices: 'blocks.0.mlp.down' is 3, must be a table"),
        (
            "matrices",
            f'{{"{SITE}": null}}',
            r"matrices: 'blocks.0.mixer.k' is None, must be a table",
        ),
        (
            "matrices",
            f'{{"{SITE}": {ANALOGUE}}}',
            r"mixer.k' steps is 0, must be at least 1, for a",
        ),
        ("matrices", f'{{"{SITE}": {ROTATED}}}', r"mixer.k' rotate is True, must be false, for a"),
        (
            "matrices",
            f'{{"{SITE}": {SPIKING}}}',
            r"'blocks.0.mixer.k.threshold' is None, must be F",
        ),
        ("matrices", f'{{"{DOWN}": {{"steps": 3}}}}', r"must be a table of steps, code and rotate"),
    ],
)
def test_wrong_metadata_are_explained(
    key: str, value: str, words: str, packed: Packed, fuzz: ModuleType, drop_head: Any
) -> None:
    folder = packed(tie_word_embeddings=True)
    case = fuzz.Case.read(folder)
    drop_head(case)
    case.header["__metadata__"][key] = value
    case.write(folder, repair=key != "crc32")
    with pytest.raises(PackedError, match=words):
        read_packed(folder)
