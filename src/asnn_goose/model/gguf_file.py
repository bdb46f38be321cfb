"""A model in a GGUF file, as a folder that is read fast and holds everything the file states."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from gguf import MODEL_ARCH_NAMES, GGUFReader, ReaderTensor, get_tensor_name_map
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from asnn_goose.model.families import FAMILIES, TeacherError, family_of, head_size
from asnn_goose.model.teacher_config import check_lengths, check_numbers
from asnn_goose.model.weight_files import listed, load_weights, load_words, readable
from asnn_goose.sources import cache_dir, new_folder

FORMAT = 2
"""Goes into the name of every folder: raise it when what is read of a file changes."""

SIZES: dict[str, dict[str, str]] = {
    "qwen3": {"attention.key_length": "head_dim"},
    "gpt2": {"context_length": "n_positions", "feed_forward_length": "n_inner"},
}
"""Sizes that a GGUF states and Transformers leaves at the family's default."""

COUNTS = frozenset(
    {"block_count", "embedding_length", "feed_forward_length", "context_length"}
    | {"attention.head_count", "attention.head_count_kv", "attention.key_length"}
)

FACTORS = "rope_freqs.weight"
"""Tensor of what every rotary frequency is divided by, as converters of Llama 3.1 write it."""


def dequantised(file: Path, *, name: str) -> Path:
    """The model in a GGUF file as an fp32 `save_pretrained` folder in the cache.

    Reading a GGUF takes some 15 seconds every time, reading the folder under one. Raises
    TeacherError for a file that is damaged or states what cannot be followed.
    """
    with readable(name, file.parent), file.open("rb") as stream:
        # By content: a file of the same name that was fetched again must not be taken for the old
        # one.
        digest = hashlib.file_digest(stream, "sha256").hexdigest()[:16]
    kept = cache_dir() / "dequantised" / f"{file.stem}-{digest}-{FORMAT}"
    if kept.is_dir():
        return kept
    gguf: dict[str, Any] = {"gguf_file": file.name}
    stated, tensors = _read(file, name=name)
    config = _config(file, stated, tensors, name=name)
    model = load_weights(
        AutoModelForCausalLM, file.parent, name=name, config=config, dtype=torch.float32, **gguf
    )
    _check_taken(tensors.keys(), model, _architecture(stated), name=name)
    del model.config.quantization_config, model.hf_quantizer  # it is not quantised any more
    words = load_words(file.parent, name=name, **gguf)
    with new_folder(kept) as folder:
        model.save_pretrained(folder)
        words.save_pretrained(folder)
    return kept


def _read(file: Path, *, name: str) -> tuple[dict[str, Any], dict[str, ReaderTensor]]:
    """What a GGUF states, and its tensors by name."""
    with readable(name, file.parent):
        reader = GGUFReader(file)
        stated = {key: field.contents() for key, field in reader.fields.items()}
        return stated, {tensor.name: tensor for tensor in reader.tensors}


def _architecture(stated: Mapping[str, Any]) -> str:
    return str(stated.get("general.architecture", ""))


def _config(
    file: Path, stated: Mapping[str, Any], tensors: Mapping[str, ReaderTensor], *, name: str
) -> PreTrainedConfig:
    """Configuration of the model in a GGUF. Raises TeacherError for an unsupported family."""
    factors = tensors[FACTORS].data if FACTORS in tensors else None
    start = f"{_architecture(stated)}."
    own = {k.removeprefix(start): value for k, value in stated.items() if k.startswith(start)}
    for key in COUNTS & own.keys():
        if isinstance(own[key], str | float) or own[key] == 0:
            raise TeacherError(
                f"teacher {name!r}: {start}{key} = {own[key]!r}: must be a whole number above 0"
            )
    if "block_count" in own:  # before Transformers makes room for as many as are stated
        _check_layers(tensors, own["block_count"], name=name)
    try:
        config = AutoConfig.from_pretrained(
            file.parent, gguf_file=file.name, trust_remote_code=False
        )
    except Exception as error:  # the library raises nothing narrower
        supported = ", ".join(sorted(FAMILIES))
        raise TeacherError(f"teacher {name!r}: {error} Supported: {supported}") from error
    family_of(config, name=name)
    _check_layers(tensors, config.num_hidden_layers, name=name)
    for key, setting in SIZES.get(config.model_type, {}).items():
        if key in own:
            setattr(config, setting, int(own[key]))
    if hasattr(config, "rope_parameters"):
        config.rope_parameters = by_kind(config, rotary(own, factors, config, name=name))
    check_numbers(config.to_dict(), name=name)
    check_lengths(config, name=name)
    return cast(PreTrainedConfig, config)


def _check_taken(
    tensors: Iterable[str], model: PreTrainedModel, architecture: str, *, name: str
) -> None:
    """Refuse tensors that the model has no place for, which Transformers would leave out."""
    kind = next((kind for kind, word in MODEL_ARCH_NAMES.items() if word == architecture), None)
    if kind is None:
        return
    names, taken = get_tensor_name_map(kind, model.config.num_hidden_layers), {FACTORS}
    for key in model.state_dict():
        stem, _, end = key.rpartition(".")
        stored = names.get_name(stem)
        if stored is None:  # of a family that converters rename in other ways too
            return
        taken.add(f"{stored}.{end}")
    if left := set(tensors) - taken:
        raise TeacherError(
            f"teacher {name!r}: the file holds {listed(left)}, for which a {architecture} model has"
            " no place: it would be another model without"
        )


def by_kind(config: PreTrainedConfig, stated: dict[str, Any]) -> dict[str, Any]:
    """What a file states holds for full attention; sliding layers keep the family's own base."""
    own = dict(config.rope_parameters or {})
    return own | {"full_attention": stated} if "full_attention" in own else stated


def _check_layers(tensors: Iterable[str], layers: Any, *, name: str) -> None:
    """Refuse tensors of layers that the file does not count, which Transformers would leave out."""
    found = {int(match[1]) for tensor in tensors if (match := re.match(r"blk\.(\d+)\.", tensor))}
    if len(found) != layers or max(found, default=-1) != len(found) - 1:
        raise TeacherError(
            f"teacher {name!r}: the file holds {len(found)} layers and states block_count ="
            f" {layers}: it is cut, or not whole"
        )


def rotary(
    own: Mapping[str, Any], factors: Any, config: PreTrainedConfig, *, name: str
) -> dict[str, Any]:
    """What a GGUF states of rotary positions, in the words of Transformers.

    own      what stands under the architecture's name, without it
    factors  contents of FACTORS, if any

    Raises TeacherError for what has no such words: it would be dropped in silence.
    """
    size = int(own.get("attention.key_length", head_size(config)))
    if int(own.get("rope.dimension_count", size)) != size:
        raise TeacherError(
            f"teacher {name!r}: rope.dimension_count = {own['rope.dimension_count']}: only whole"
            f" heads of {size} can be rotated"
        )
    found: dict[str, Any] = {"rope_theta": float(own.get("rope.freq_base", 10000.0))}
    kind, factor = own.get("rope.scaling.type", "none"), own.get("rope.scaling.factor")
    if "rope.scale_linear" in own:  # of files before there were other kinds
        kind, factor = "linear", own["rope.scale_linear"]
    original = own.get("rope.scaling.original_context_length")
    if factors is not None:
        if kind not in ("none", "linear") or (factor or 1.0) != 1.0:
            raise TeacherError(f"teacher {name!r}: {FACTORS} beside rope.scaling.type = {kind!r}")
        return found | _divided(factors, config)
    times = float(factor or 1.0)
    if kind == "none" or (kind == "linear" and times == 1.0):
        return found | {"rope_type": "default"}
    if kind == "linear":
        return found | {"rope_type": "linear", "factor": times}
    if kind == "yarn":
        return found | _yarn(own, times, original or config.max_position_embeddings)
    raise TeacherError(
        f"teacher {name!r}: rope.scaling.type = {kind!r}: only none, linear, yarn and the tensor"
        f" {FACTORS} can be followed"
    )


def _divided(factors: Any, config: PreTrainedConfig) -> dict[str, Any]:
    """Frequencies divided by numbers of their own, alike for short and long texts."""
    # "longrope" is the only kind of Transformers' that takes a factor per frequency; with both
    # lists alike it does not depend on the length.
    each = [float(factor) for factor in np.asarray(factors, np.float32).reshape(-1)]
    return {
        "rope_type": "longrope",
        "short_factor": each,
        "long_factor": each,
        "factor": 1.0,
        "attention_factor": 1.0,
        "original_max_position_embeddings": config.max_position_embeddings,
    }


YARN = {"yarn_beta_fast": "beta_fast", "yarn_beta_slow": "beta_slow"}


def _yarn(own: Mapping[str, Any], factor: float, original: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "rope_type": "yarn",
        "factor": factor,
        "original_max_position_embeddings": int(original),
    }
    for theirs, ours in YARN.items():
        if f"rope.scaling.{theirs}" in own:
            found[ours] = float(own[f"rope.scaling.{theirs}"])
    if "rope.scaling.attn_factor" in own:
        # llama.cpp multiplies what it makes of the factor; Transformers takes the product
        size = 1.0 + 0.1 * float(np.log(factor))
        found["attention_factor"] = size * float(own["rope.scaling.attn_factor"])
    return found
