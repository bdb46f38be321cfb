"""What goes into a GGUF, read back with gguf's own reader; llama.cpp itself where it is built."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from bench.peers.llama_logits import LlamaCpp
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from asnn_goose.export.forms import ExportError
from asnn_goose.export.gguf.file import write_gguf
from asnn_goose.model import GooseForCausalLM

LIBRARIES = os.environ.get("ASNN_GOOSE_LLAMA_CPP")

ARWKV: dict[str, Any] = {"mlp": "gated", "norm": "rms", "embedding_norm": False, "precision": {}}
KINDS: dict[str, dict[str, Any]] = {
    "arwkv": ARWKV | {"gate": "one_plus", "tie_word_embeddings": True},
    "published": {"precision": {}},
    "bare": ARWKV
    | {"gate": "none", "group_norm": False, "v_first": "none", "bonus": False}
    | {"removal_key": False, "key_replacement": False, "token_shift": False}
    | {"vocab_size": 272, "real_vocab_size": 264},
    "ternary": ARWKV | {"precision": {"*": {"planes": 2, "rotate": True}}},
}

Write = Callable[..., tuple[GooseForCausalLM, Path]]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = {letter: number for number, letter in enumerate([*letters, "ab"])}
    core = Tokenizer(models.BPE(vocab=words, merges=[("a", "b")]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken("<|end|>", special=True)])
    core.add_tokens([AddedToken("<think>", special=False)])
    core.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


@pytest.fixture
def write(student: Callable[..., GooseForCausalLM], source: Path, tmp_path: Path) -> Write:
    def make(form: str = "f16", **changes: Any) -> tuple[GooseForCausalLM, Path]:
        model = student(**({"vocab_size": 260, "eos_token_id": 257} | changes))
        file = tmp_path / f"{form}.gguf"
        write_gguf(model, file, form=form, source=source, template="{{ messages }}")
        return model, file

    return make


def read(file: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    reader = gguf.GGUFReader(file)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    return fields, {
        tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        for tensor in reader.tensors
    }


def test_settings_and_words(write: Write) -> None:
    fields, tensors = read(write(**KINDS["arwkv"])[1])
    assert fields["general.architecture"] == "arwkv7"
    for name, value in {
        "block_count": 2,
        "embedding_length": 128,
        "wkv.head_size": 64,
        "token_shift_count": 1,
        "feed_forward_length": 192,
        "attention.gate_lora_rank": tensors["blk.0.time_mix_g1.weight"].shape[0],
    }.items():
        assert fields[f"arwkv7.{name}"] == value, name
    assert fields["tokenizer.ggml.pre"] == "gpt-2"
    assert fields["tokenizer.ggml.merges"] == ["a b"]
    assert fields["tokenizer.ggml.tokens"][256:] == ["ab", "<|end|>", "<think>", "[PAD259]"]
    assert fields["tokenizer.ggml.token_type"][255:] == [1, 1, 3, 4, 5]
    assert fields["tokenizer.ggml.eos_token_id"] == 257
    assert fields["tokenizer.ggml.add_bos_token"] is False
    assert fields["tokenizer.chat_template"] == "{{ messages }}"


@pytest.mark.parametrize("form", ["f32", "f16", "int8", "int4"])
def test_large_matrices_take_the_form(write: Write, form: str) -> None:
    model, file = write(form, **KINDS["arwkv"])
    _, tensors = read(file)
    want = model.blocks[1].mlp.up.weight.detach().numpy()  # type: ignore[union-attr]
    limit = {"f32": 0.0, "f16": 2**-10, "int8": 1 / 127, "int4": 1 / 14}[form] * np.abs(want).max()
    error = np.abs(tensors["blk.1.ffn_up.weight"] - want).max()
    assert error <= limit
    assert bool(error > 0) is (form != "f32")
    shift = model.blocks[1].mixer.shift.mix.detach().numpy()  # type: ignore[union-attr]
    assert np.array_equal(tensors["blk.1.time_mix_lerp_fused.weight"][:, 0, 0], shift)


def test_ternary_matrices_are_written_in_the_basis_of_their_input(write: Write) -> None:
    model, file = write("f32", **KINDS["ternary"])
    matrix = model.blocks[0].mixer.key  # type: ignore[union-attr]
    x_BK = torch.randn(5, 128)
    want = matrix(x_BK).detach().numpy()
    weight = read(file)[1]["blk.0.time_mix_key.weight"]
    assert np.allclose(x_BK.numpy() @ weight.T, want, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (ARWKV | {"rope": True}, "rope = True, must be False"),
        (ARWKV | {"value_shift": True, "qkv_bias": True}, "qkv_bias = True.*value_shift = True"),
        (ARWKV | {"logit_cap": 30.0}, "logit_cap = 30.0, must be 0.0"),
        (ARWKV | {"hidden_act": "gelu"}, "hidden_act = 'gelu'"),
        (ARWKV | {"norm": "layer"}, "arwkv7.*norm = 'layer', must be 'rms'"),
        (ARWKV | {"head_size": 32, "num_attention_heads": 4}, "head_size = 32, must be 64"),
        (ARWKV | {"num_attention_heads": 1}, "= 64, must be hidden_size = 128"),
        ({"precision": {}, "gate": "none"}, "rwkv7 .*gate = 'none'"),
        ({"precision": {}, "mlp": "plain"}, "mlp = 'plain'"),
        (ARWKV | {"precision": {"up": {"steps": 1}}}, "blocks.0.mlp.up spikes.*steps = 0"),
        (ARWKV | {"precision": {"v": {"steps": 1}}}, "blocks.0.mixer.v spikes"),
        (ARWKV | {"precision": {"head": {"steps": 1}}}, "head spikes"),
        (ARWKV | {"precision": {"up": {"planes": 1, "sub_norm": True}}}, "sub_norm = false"),
    ],
)
def test_what_cannot_be_held_is_refused_by_name(
    write: Write, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ExportError, match=said):
        write(**changes)
    assert not [file for file in tmp_path.iterdir() if "gguf" in file.name]


def test_a_tokenizer_that_llama_cpp_reads_otherwise_is_refused(write: Write, source: Path) -> None:
    file = source / "tokenizer.json"
    before = file.read_text()
    for old, new, said in (
        ('"use_regex": true', '"use_regex": false', "not known to split"),
        ('"byte_fallback": false', '"byte_fallback": true', "byte-level BPE"),
    ):
        assert old in before
        file.write_text(before.replace(old, new))
        with pytest.raises(ExportError, match=said):
            write(**KINDS["arwkv"])
    file.write_text(before)
    with pytest.raises(ExportError, match="has a token 258, and the embedding only 200 rows"):
        write(**KINDS["arwkv"] | {"vocab_size": 200, "eos_token_id": 1})


@pytest.mark.skipif(LIBRARIES is None, reason="ASNN_GOOSE_LLAMA_CPP is not set")
@pytest.mark.parametrize("kind", KINDS)
def test_llama_cpp_computes_the_same(write: Write, kind: str) -> None:
    model, file = write("f32", **KINDS[kind])
    ids = [n % 257 for n in range(3, 103)]
    with torch.no_grad():
        want = model(torch.tensor([ids])).logits[0].numpy()
    want = want[:, : model.config.real_vocab_size or None]
    found = LlamaCpp(Path(str(LIBRARIES)), file, threads=1, context=128).logits(ids)
    assert np.abs(found - want).max() <= 1e-4 * np.abs(want).max()
