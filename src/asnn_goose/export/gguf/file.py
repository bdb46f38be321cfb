"""The GGUF file itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np

from asnn_goose import disk
from asnn_goose.export.forms import ExportError
from asnn_goose.export.gguf.fit import Architecture, architecture_of
from asnn_goose.export.gguf.tensors import Named, tensors
from asnn_goose.export.gguf.words import Words, read_words
from asnn_goose.model import GooseConfig, GooseForCausalLM

FORMS = {
    "f32": (gguf.GGMLQuantizationType.F32, gguf.LlamaFileType.ALL_F32),
    "f16": (gguf.GGMLQuantizationType.F16, gguf.LlamaFileType.MOSTLY_F16),
    "int8": (gguf.GGMLQuantizationType.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0),
    "int4": (gguf.GGMLQuantizationType.Q4_1, gguf.LlamaFileType.MOSTLY_Q4_1),
}
"""Our number formats, llama.cpp's types for them, and what it calls a file of them."""

ENDLESS = 1 << 20
"""Context length of a recurrence, as llama.cpp's own converter writes it."""


def write_gguf(
    model: GooseForCausalLM, file: Path, *, form: str, source: Path, template: str | None
) -> Architecture:
    """Write a student as one file, which appears whole or not at all; which architecture it is.

    form      of the large matrices: f32, f16, or int8 and int4 (Q8_0, Q4_1: blocks of 32 columns)
    source    the student's folder, for its tokenizer
    template  its chat template
    Raises ExportError, naming the setting, for what llama.cpp cannot hold.
    """
    architecture, config = architecture_of(model), model.config
    kind = FORMS[form][0].name
    if kind.startswith("Q") and (config.hidden_size % 32 or config.intermediate_size % 32):
        raise ExportError(f"dense = {form!r}: {kind} wants widths that 32 divides; take f16")
    rows = config.real_vocab_size or config.vocab_size
    words = read_words(source, rows=rows, settings=config.to_dict())
    with disk.replaced_file(file) as part:
        writer = gguf.GGUFWriter(part, architecture)
        _add_settings(writer, config, architecture, form=form)
        _add_words(writer, words, template)
        for named in tensors(model, architecture):
            _add_tensor(writer, named, form)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return architecture


def _add_settings(
    writer: Any, config: GooseConfig, architecture: Architecture, *, form: str
) -> None:
    writer.add_context_length(ENDLESS)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(0)  # asked for, though it means nothing
    if architecture == "arwkv7":
        writer.add_layer_norm_rms_eps(config.norm_eps)
        writer.add_token_shift_count(1)
    else:
        writer.add_layer_norm_eps(config.norm_eps)
        writer.add_token_shift_count(2)
    writer.add_wkv_head_size(config.head_size)
    writer.add_decay_lora_rank(config.decay_rank)
    writer.add_iclr_lora_rank(config.rate_rank)
    writer.add_value_residual_mix_lora_rank(config.value_rank if config.v_first != "none" else 1)
    # Inner channels of the gate as it is written (tensors._adapters).
    rank = int(config.gate_rank)
    writer.add_gate_lora_rank({"none": 0, "one_plus": rank + 1}.get(config.gate, rank))
    writer.add_file_type(FORMS[form][1])


def _add_words(writer: Any, words: Words, template: str | None) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(words.split)
    writer.add_token_list(words.tokens)
    writer.add_token_types(words.types)
    writer.add_token_merges(words.merges)
    writer.add_add_bos_token(words.adds_bos)
    for name, number in words.ids.items():
        getattr(writer, f"add_{name}_token_id")(number)
    if template is not None:
        writer.add_chat_template(template)


def _add_tensor(writer: Any, named: Named, form: str) -> None:
    """One tensor in the form of its kind; Raises ExportError where fp16 is too narrow."""
    values = named.values
    kind = FORMS["f32"][0]
    if named.kind == "matrix":
        kind = FORMS[form][0]
    elif named.kind == "narrow" and form != "f32":
        kind = FORMS["f16"][0]
    if kind is FORMS["f16"][0] and np.abs(values).max() > np.finfo(np.float16).max:
        raise ExportError(f"{named.name} is beyond fp16: take dense = f32")
    packed = gguf.quants.quantize(np.ascontiguousarray(values), kind)
    writer.add_tensor(named.name, packed, raw_dtype=kind)
