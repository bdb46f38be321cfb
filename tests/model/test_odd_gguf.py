"""GGUF files that are not whole, or state what cannot be: refused before anything is kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gguf
import pytest
import torch
from torch import Tensor

from asnn_goose.model import Teacher, TeacherError, load_teacher

from .test_gguf import write

Weights = dict[str, Tensor]
LAYER = "model.layers.0."


def missing(weights: Weights) -> None:
    del weights[LAYER + "mlp.up_proj.weight"]


def additional(weights: Weights) -> None:
    weights[LAYER + "self_attn.q_proj.bias"] = torch.ones(64)


def misshapen(weights: Weights) -> None:
    weights[LAYER + "mlp.up_proj.weight"] = torch.ones(96, 32)


def turned(weights: Weights) -> None:
    weights[LAYER + "mlp.up_proj.weight"] = torch.ones(64, 96)


def not_finite(weights: Weights) -> None:
    weights["model.norm.weight"] = torch.full((64,), torch.nan)


def infinite_embedding(weights: Weights) -> None:
    weights["model.embed_tokens.weight"][5, 3] = torch.inf


def short_vocabulary(weights: Weights) -> None:
    weights["model.embed_tokens.weight"] = torch.ones(90, 64)


@pytest.fixture
def load(
    of_family: Callable[..., Teacher], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Teacher]:
    """Write a tiny Llama with changed tensors, stated numbers or bytes, and read it."""
    monkeypatch.setenv("ASNN_GOOSE_CACHE", str(tmp_path / "cache"))

    def make(
        change: Callable[[Weights], None] = lambda weights: None,
        *,
        replaced: tuple[bytes, bytes] = (b"", b""),
        **stated: str | int | float,
    ) -> Teacher:
        file = tmp_path / "model" / "tiny.gguf"
        file.parent.mkdir()
        teacher = of_family("llama", words=97)
        weights = {key: weight.clone() for key, weight in teacher.model.state_dict().items()}
        change(weights)
        write(file, teacher, gguf.MODEL_ARCH.LLAMA, weights=weights, **stated)
        content = file.read_bytes()
        assert replaced[0] in content
        file.write_bytes(content.replace(*replaced))
        return load_teacher(str(file.parent))

    return make


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (missing, r"lack.*mlp.up_proj.weight"),
        (additional, r"the file holds blk.0.attn_q.bias, for which a llama model has no place"),
        (misshapen, r"mlp.up_proj.weight has the shape"),
        (turned, r"mlp.up_proj.weight has the shape"),
        (not_finite, r"model.norm.weight holds numbers that are not finite"),
        (infinite_embedding, r"embed_tokens.weight holds numbers that are not finite"),
        (short_vocabulary, r"embed_tokens.weight has the shape"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_tensors_that_do_not_fit_are_named(
    change: Callable[[Weights], None], said: str, load: Callable[..., Teacher], tmp_path: Path
) -> None:
    with pytest.raises(TeacherError, match=said):
        load(change)
    assert not list((tmp_path / "cache").rglob("config.json"))


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("block_count", 0, r"llama.block_count = 0: must be a whole number above 0"),
        ("block_count", 4_000_000_000, r"block_count = 4000000000"),
        ("block_count", "two", r"block_count = 'two': must be a whole number"),
        ("embedding_length", 0, r"embedding_length = 0: must"),
        ("embedding_length", 32, r"has the shape"),
        ("feed_forward_length", 7, r"has the shape"),
        ("attention.head_count", 0, r"attention.head_count = 0: must"),
        ("attention.head_count", 3, r"shape|head"),
        ("attention.head_count_kv", 3, r"shape|head"),
        ("attention.head_count_kv", 0, r"head_count_kv = 0: must"),
        (
            "attention.layer_norm_rms_epsilon",
            float("nan"),
            r"rms_norm_eps = nan: must be a finite number",
        ),
        ("rope.freq_base", 0.0, r"rope_theta = 0.0: must be a number above 0"),
        ("rope.freq_base", float("nan"), r"rope_theta = nan: must"),
        ("rope.scaling.factor", -4.0, r"factor = -4.0: must"),
        ("attention.key_length", 7, r"dimension_count|key_length|head"),
        ("context_length", 0, r"context_length = 0: must"),
    ],
)
def test_numbers_that_cannot_be_are_named(
    key: str, value: float | str, said: str, load: Callable[..., Teacher], tmp_path: Path
) -> None:
    linear = {"llama.rope.scaling.type": "linear"} if "scaling" in key else {}
    with pytest.raises(TeacherError, match=said):
        load(**linear, **{f"llama.{key}": value})
    assert not list((tmp_path / "cache").rglob("config.json"))


@pytest.mark.parametrize(
    "replaced",
    [
        (b"blk.0.attn_q.weight", b"blk.0.attn_k.weight"),  # one name twice
        (b"blk.0.attn_q.weight", b"blk.0.attn_z.weight"),
        (b"blk.0.attn_q.weight", b"blk.0.attn_\xff.weight"),
        (b"output_norm.weight\1\0\0\0", b"output_norm.weight\3\0\0\0"),  # its number of axes
        (b"GGUF\3", b"GGUF\x63"),
        (b"general.architecture", b"general.architectural"[:20]),
    ],
)
def test_damaged_tables_are_refused(
    replaced: tuple[bytes, bytes], load: Callable[..., Teacher], tmp_path: Path
) -> None:
    with pytest.raises(TeacherError):
        load(replaced=replaced)
    assert not list((tmp_path / "cache").rglob("config.json"))


@pytest.mark.parametrize("kind", [99, int(gguf.GGMLQuantizationType.I32)])
def test_types_of_tensors_that_are_no_weights_are_refused(
    kind: int, load: Callable[..., Teacher]
) -> None:
    axis = (64).to_bytes(8, "little")
    stored = b"output_norm.weight\1\0\0\0" + axis
    with pytest.raises(TeacherError):
        load(replaced=(stored + bytes(4), stored + kind.to_bytes(4, "little")))
