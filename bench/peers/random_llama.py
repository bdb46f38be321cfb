"""A GGUF of the Llama architecture with random ternary weights, for peers that need ternary ones.

Tokenizer and shapes are the teacher's, the width as asked. Weights are fp16 codes times a scale,
which the peers' own tools turn into their ternary types without loss.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFReader, GGUFWriter
from numpy.typing import NDArray

HEAD = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Sizes of a Llama; heads have 64 channels."""

    layers: int = 30
    width: int = 576
    kv_heads: int = 3
    middle: int = 1536
    vocabulary: int = 49152

    @property
    def macs(self) -> int:
        """Products per token: block matrices and head."""
        attention = 2 * self.width * (self.width + self.kv_heads * HEAD)
        block = attention + 3 * self.width * self.middle
        return self.layers * block + self.width * self.vocabulary


TEACHER = Shape()
"""SmolLM2-135M."""

TQ2_0_SHAPES = (
    Shape(width=512, kv_heads=4, middle=1280),
    Shape(width=768, kv_heads=4, middle=2048),
)
"""The widths next to the teacher's 576 that a multiple of 256 allows, the rest scaled."""


def write_random_llama(file: Path, shape: Shape, *, tokenizer: Path, seed: int = 0) -> None:
    """Write the model; `tokenizer` is a GGUF whose tokenizer is copied."""
    writer = GGUFWriter(file, "llama")
    writer.add_block_count(shape.layers)
    writer.add_context_length(8192)
    writer.add_embedding_length(shape.width)
    writer.add_feed_forward_length(shape.middle)
    writer.add_head_count(shape.width // HEAD)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_rope_dimension_count(HEAD)
    writer.add_rope_freq_base(100000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(shape.vocabulary)
    writer.add_file_type(1)
    for name, field in GGUFReader(tokenizer).fields.items():
        if name.startswith("tokenizer."):
            writer.add_key_value(name, field.contents(), field.types[0], *field.types[1:2])
    for name, tensor in tensors(shape, np.random.default_rng(seed)):
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def tensors(shape: Shape, random: np.random.Generator) -> Iterator[tuple[str, NDArray[Any]]]:
    """Every tensor of the model, head tied to the embedding."""
    width, kv = shape.width, shape.kv_heads * HEAD
    embedding = random.standard_normal((shape.vocabulary, width), np.float32)
    yield "token_embd.weight", (0.1 * embedding).astype(np.float16)
    yield "output_norm.weight", np.ones(width, np.float32)
    for layer in range(shape.layers):
        for norm in ("attn_norm", "ffn_norm"):
            yield f"blk.{layer}.{norm}.weight", np.ones(width, np.float32)
        for name, rows, columns in (
            ("attn_q", width, width),
            ("attn_k", kv, width),
            ("attn_v", kv, width),
            ("attn_output", width, width),
            ("ffn_gate", shape.middle, width),
            ("ffn_up", shape.middle, width),
            ("ffn_down", width, shape.middle),
        ):
            codes = random.integers(-1, 2, (rows, columns), dtype=np.int8)
            yield f"blk.{layer}.{name}.weight", codes.astype(np.float16) * np.float16(2**-5)
