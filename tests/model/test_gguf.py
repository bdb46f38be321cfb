"""Teachers in GGUF files: written here from tiny models, read back through the cache."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import Gemma3TextConfig, LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from asnn_goose.model import Teacher, TeacherError, load_teacher
from asnn_goose.model.families import head_size
from asnn_goose.model.gguf_file import by_kind

ARCHITECTURES = {
    "llama": gguf.MODEL_ARCH.LLAMA,
    "mistral": gguf.MODEL_ARCH.LLAMA,  # as llama.cpp has it
    "qwen2": gguf.MODEL_ARCH.QWEN2,
    "qwen3": gguf.MODEL_ARCH.QWEN3,
    "gpt2": gguf.MODEL_ARCH.GPT2,
}


@pytest.mark.parametrize("family", sorted(ARCHITECTURES))
@torch.no_grad()
def test_a_gguf_of_every_family_loads(
    family: str,
    of_family: Callable[..., Teacher],
    tokens_BT: Tensor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ASNN_GOOSE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "model").mkdir()
    teacher = of_family(family, words=97)
    write(tmp_path / "model" / "tiny.gguf", teacher, ARCHITECTURES[family])
    for again in (load_teacher(str(tmp_path / "model")) for _ in range(2)):
        assert FAMILY_READ.get(family, family) == again.config.model_type
        assert head_size(again.config) == head_size(teacher.config)
        assert again.words == 97
        found, wanted = (t.model(tokens_BT).logits for t in (again, teacher))
        assert torch.allclose(found, wanted, atol=1e-4 * float(wanted.abs().max()))


FAMILY_READ = {"mistral": "llama"}


def test_the_family_of_a_gguf_is_checked_before_its_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASNN_GOOSE_CACHE", str(tmp_path / "cache"))
    for architecture, message in (("stablelm", "'stablelm'"), ("rwkv7", "rwkv7")):
        folder = tmp_path / architecture
        folder.mkdir()
        writer = gguf.GGUFWriter(folder / "other.gguf", architecture)
        writer.add_name("other")
        close(writer)
        with pytest.raises(TeacherError, match=rf"(?is){message}.*supported: .*gpt2.*llama"):
            load_teacher(str(folder))


SCALED: dict[str, dict[str, Any]] = {
    "linear": {"rope_type": "linear", "factor": 4.0},
    "llama3": {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32,
    },
    "yarn": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16},
}


@pytest.mark.parametrize("kind", sorted(SCALED))
@torch.no_grad()
def test_scaled_rotations_are_those_of_the_folder(
    kind: str,
    of_family: Callable[..., Teacher],
    tokens_BT: Tensor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ASNN_GOOSE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "model").mkdir()
    scaling = {"rope_theta": 10000.0, **SCALED[kind]}
    teacher = of_family("llama", words=97, rope_parameters=scaling)
    write(tmp_path / "model" / "tiny.gguf", teacher, gguf.MODEL_ARCH.LLAMA)
    again = load_teacher(str(tmp_path / "model"))
    found, wanted = (t.model(tokens_BT).logits for t in (again, teacher))
    plain = of_family("llama", words=97).model(tokens_BT).logits
    assert (plain - wanted).abs().max() > 0.1
    assert (found - wanted).abs().max() < 1e-4


@pytest.mark.parametrize(
    ("key", "value"),
    [("llama.rope.scaling.type", "longrope"), ("llama.rope.dimension_count", 8)],
)
def test_rotations_that_cannot_be_followed_are_refused(
    key: str,
    value: str | int,
    of_family: Callable[..., Teacher],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ASNN_GOOSE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "model").mkdir()
    stated = {key: value}
    write(tmp_path / "model" / "tiny.gguf", of_family("llama"), gguf.MODEL_ARCH.LLAMA, **stated)
    with pytest.raises(TeacherError, match=key.removeprefix("llama.")):
        load_teacher(str(tmp_path / "model"))


@pytest.mark.parametrize("layers", [1, 3])
def test_a_gguf_with_other_layers_than_it_says_is_refused(
    layers: int, of_family: Callable[..., Teacher], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASNN_GOOSE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "model").mkdir()
    file, stated = tmp_path / "model" / "tiny.gguf", {"llama.block_count": layers}
    write(file, of_family("llama"), gguf.MODEL_ARCH.LLAMA, **stated)
    with pytest.raises(TeacherError, match=r"layers"):
        load_teacher(str(tmp_path / "model"))
    assert not list((tmp_path / "cache").rglob("config.json"))


@pytest.mark.parametrize("size", [0, 100, 20_000])
def test_a_cut_gguf_is_refused(
    size: int, of_family: Callable[..., Teacher], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASNN_GOOSE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "model").mkdir()
    file = tmp_path / "model" / "tiny.gguf"
    write(file, of_family("llama"), gguf.MODEL_ARCH.LLAMA)
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(TeacherError, match=r"cannot be loaded|tiny.gguf"):
        load_teacher(str(tmp_path / "model"))


def write(
    file: Path,
    teacher: Teacher,
    architecture: gguf.MODEL_ARCH,
    *,
    weights: dict[str, Tensor] | None = None,
    **stated: str | int | float,
) -> None:
    """The teacher as llama.cpp's converter would write it, in fp32; `stated` wins over it.

    `weights` take the place of the teacher's own.
    """
    writer = gguf.GGUFWriter(file, gguf.MODEL_ARCH_NAMES[architecture])
    writer.add_name("tiny")
    add_sizes(writer, teacher)
    add_words(writer, 97)
    for key, value in stated.items():
        add = {str: writer.add_string, int: writer.add_uint32, float: writer.add_float32}
        add[type(value)](key, value)  # type: ignore[operator]
    names = gguf.get_tensor_name_map(architecture, len(teacher.layers))
    weights = weights or teacher.model.state_dict()
    if teacher.config.tie_word_embeddings:
        del weights["lm_head.weight"]
    for name, weight in weights.items():
        stem, end = name.rsplit(".", 1)
        stored = names.get_name(stem)
        assert stored is not None
        writer.add_tensor(f"{stored}.{end}", as_stored(stem, weight, teacher, architecture))
    add_rotary(writer, teacher)
    close(writer)


def add_rotary(writer: gguf.GGUFWriter, teacher: Teacher) -> None:
    """Scaled positions as llama.cpp keeps them: Llama 3.1's as a tensor of divisors."""
    scaling = getattr(teacher.config, "rope_parameters", None) or {}
    kind = scaling.get("rope_type", "default")
    if kind == "llama3":
        turned, _ = ROPE_INIT_FUNCTIONS["llama3"](teacher.config, torch.device("cpu"))
        size = head_size(teacher.config)
        plain = 10000.0 ** -(torch.arange(0, size, 2) / size)
        writer.add_tensor("rope_freqs.weight", (plain / turned).float().numpy())
    elif kind != "default":
        writer.add_rope_scaling_type(gguf.RopeScalingType(kind))
        writer.add_rope_scaling_factor(scaling["factor"])
        if "original_max_position_embeddings" in scaling:
            writer.add_rope_scaling_orig_ctx_len(scaling["original_max_position_embeddings"])


def add_sizes(writer: gguf.GGUFWriter, teacher: Teacher) -> None:
    config = teacher.config
    writer.add_block_count(config.num_hidden_layers)
    writer.add_embedding_length(config.hidden_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_head_count(config.num_attention_heads)
    if config.model_type == "gpt2":
        writer.add_feed_forward_length(4 * config.hidden_size)
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
        return
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(head_size(config))
    writer.add_key_length(head_size(config))


def add_words(writer: gguf.GGUFWriter, words: int) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    letters = [chr(0x100 + number) for number in range(words - 1)]
    writer.add_token_list([*letters, letters[0] + letters[1]])
    writer.add_token_types([1] * words)
    writer.add_token_merges([f"{letters[0]} {letters[1]}"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)


def as_stored(
    stem: str, weight: Tensor, teacher: Teacher, architecture: gguf.MODEL_ARCH
) -> NDArray[np.float32]:
    """Conv1D weights are turned around, and Llama's q and k interleave the halves of a head."""
    if architecture == gguf.MODEL_ARCH.GPT2 and ".c_" in stem:
        weight = weight.T if weight.ndim == 2 else weight
    if architecture == gguf.MODEL_ARCH.LLAMA and stem.endswith(("q_proj", "k_proj")):
        halves = weight.view(-1, 2, head_size(teacher.config) // 2, *weight.shape[1:])
        weight = halves.transpose(1, 2).reshape(weight.shape)
    array: NDArray[np.float32] = weight.float().contiguous().numpy()
    return array


def close(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_sliding_layers_keep_their_own_base() -> None:
    config = Gemma3TextConfig(num_hidden_layers=2)
    stated = {"rope_type": "default", "rope_theta": 5e5}
    found = by_kind(config, stated)
    assert found["full_attention"] == stated
    assert found["sliding_attention"]["rope_theta"] == 1e4
    assert by_kind(LlamaConfig(), stated) == stated
