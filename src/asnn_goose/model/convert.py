"""From a pretrained transformer to a recurrent student that inherits its weights."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, cast

import torch
from torch import Tensor, nn

from asnn_goose.model.families import Linear, TeacherError, linear, rope_base, rope_settings
from asnn_goose.model.goose.causal_lm import GooseForCausalLM
from asnn_goose.model.goose.config import GooseConfig
from asnn_goose.model.goose.initialise import initialise_vectors
from asnn_goose.model.parts.attention import Attention
from asnn_goose.model.presets import preset_settings
from asnn_goose.model.starts.look_back import looks_back
from asnn_goose.model.teacher import Teacher, head_size
from asnn_goose.names import hint, lookup

VARIANTS: MappingProxyType[str, dict[str, Any]] = MappingProxyType(
    {
        "goose": {"gate": "one_plus"},
        "radlads": {"gate": "sigmoid", "token_shift": False, "bonus": False, "rope": True},
        "arwkv": {"gate": "one_plus", "v_first": "detached"},
        "arwkv_no_gate": {"gate": "none", "group_norm": False, "v_first": "detached"},
        "rwkv4": {"mixer": "rwkv4"},
        "rwkv5": {"mixer": "rwkv5", "gate": "one_plus"},
        "rwkv6": {"mixer": "rwkv6", "gate": "one_plus"},
        "spikebert": {"mixer": "spiking_attention", "inner_steps": 4},
    }
)
"""Mixer settings of published conversions (RADLADS arXiv 2505.03005, ARWKV arXiv 2501.15570) and
our own: "goose", and those into earlier mixers."""

DEFAULT_VARIANT = "radlads"
"""What a token of training buys most with, of these (docs/results.md)."""

INHERITED = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "head_size",
    "intermediate_size",
    "mlp",
    "norm",
    "qk_norm",
    "n_positions",
    "real_vocab_size",
)
"""Settings that a student's weights dictate; biases and a tied head may be changed."""


def student_config(
    teacher: Teacher,
    *,
    variant: str = DEFAULT_VARIANT,
    preset: str | None = None,
    **overrides: Any,
) -> GooseConfig:
    """Configuration of a student that can inherit `teacher`'s weights.

    `variant` is a row of VARIANTS; `overrides` are fields of GooseConfig and win over it. With a
    `preset` (a row of PRESETS) it can inherit nothing: a published model of that size. A variant
    rotates r and k only where the teacher rotates q and k. Raises ValueError for an
    unknown variant or field, a precision that does not fit, or rotations that the student cannot
    follow.
    """
    chosen = lookup(VARIANTS, variant, setting="variant")
    known = GooseConfig.__dataclass_fields__
    for unknown in sorted(set(overrides) - set(known)):
        raise ValueError(f"{unknown} is no setting of GooseConfig: {hint(unknown, sorted(known))}")
    if preset is not None:
        chosen = preset_settings(preset, width=teacher.config.hidden_size)
    settings = {**_shape(teacher), **_parts(teacher), **_tokens(teacher), **chosen}
    if teacher.positions is not None:
        settings["rope"] = False
    config = GooseConfig(**{**settings, **overrides})
    config.check_precision()
    if config.rope and teacher.positions is None:
        _check_rotation(teacher)
    return config


def _check_rotation(teacher: Teacher) -> None:
    """Raise ValueError where a student would inherit rotations that are not the teacher's."""
    try:
        rope_base(teacher.config, name=teacher.name)
    except TeacherError as error:
        raise ValueError(
            f"rope = true: {error}; convert it with rope = false, or as variant = 'goose'"
        ) from error


def _shape(teacher: Teacher) -> dict[str, Any]:
    source, positions = teacher.config, teacher.positions
    return {
        "hidden_size": source.hidden_size,
        "num_hidden_layers": source.num_hidden_layers,
        "num_attention_heads": source.num_attention_heads,
        "head_size": head_size(source),
        "intermediate_size": _mlp_matrix(teacher, "up").weight_OK.shape[0],
        "n_positions": 0 if positions is None else positions.num_embeddings,
    }


def _parts(teacher: Teacher) -> dict[str, Any]:
    source, family, attention = teacher.config, teacher.family, teacher.attention(0)
    return {
        "mlp": family.mlp_kind,
        "hidden_act": getattr(source, family.activation),
        "norm": family.norm,
        "norm_eps": getattr(source, family.norm_eps),
        "embedding_norm": False,
        "qk_norm": bool(family.query_norm),
        "qkv_bias": linear(attention, family.queries).bias_O is not None,
        "output_bias": linear(attention, family.output).bias_O is not None,
        "mlp_bias": _mlp_matrix(teacher, "up").bias_O is not None,
        "rope_theta": float(rope_settings(source).get("rope_theta", 10000.0)),
    }


def _tokens(teacher: Teacher) -> dict[str, Any]:
    source = teacher.config
    rows = teacher.model.get_output_embeddings().weight.shape[0]
    return {
        "vocab_size": rows,
        "real_vocab_size": 0 if teacher.words == rows else teacher.words,
        "tie_word_embeddings": source.tie_word_embeddings,
        "bos_token_id": source.bos_token_id,
        "eos_token_id": source.eos_token_id,
        "pad_token_id": source.pad_token_id,
    }


def _mlp_matrix(teacher: Teacher, name: str, layer: int = 0) -> Linear:
    return linear(teacher.mlp(layer), teacher.family.mlp[name])


@torch.no_grad()
def convert(
    teacher: Teacher, *, variant: str = DEFAULT_VARIANT, **overrides: Any
) -> GooseForCausalLM:
    """A dense student of `teacher`: same shape, weights inherited, mixers near neutral.

    Mixers take over the attention, key-value heads repeated, as they say themselves; embedding,
    learned positions, head, norms and MLPs are copied. The result needs the align stage before it
    speaks. Raises ValueError for a student of another shape.
    """
    config = student_config(teacher, variant=variant, **overrides)
    _check_inherited(config, teacher)
    student = _bare_student(config)
    student.embedding.weight.copy_(teacher.model.get_input_embeddings().weight)
    student.lm_head.weight.copy_(teacher.model.get_output_embeddings().weight)
    if teacher.positions is not None and student.positions is not None:
        student.positions.weight.copy_(teacher.positions.weight)
    student.final_norm.load_state_dict(teacher.final_norm.state_dict())
    back_LH = looks_back(teacher) if config.value_shift else None
    for index, block in enumerate(student.blocks):
        source = teacher.layers[index]
        block.mixer_norm.load_state_dict(getattr(source, teacher.family.mixer_norm).state_dict())
        block.mlp_norm.load_state_dict(getattr(source, teacher.family.mlp_norm).state_dict())
        names = teacher.family.mlp
        block.mlp.inherit({name: _mlp_matrix(teacher, name, index) for name in names})
        back_H = None if back_LH is None else back_LH[index]
        block.mixer.inherit(_attention(teacher, index, looks_back_H=back_H))
    student.train(False)
    return student


def _check_inherited(config: GooseConfig, teacher: Teacher) -> None:
    inherited = {**_shape(teacher), **_parts(teacher), **_tokens(teacher)}
    for setting in INHERITED:
        found, wanted = getattr(config, setting), inherited[setting]
        if found != wanted:
            raise ValueError(f"{setting} = {found!r}: a student of {teacher.name} needs {wanted!r}")


def _bare_student(config: GooseConfig) -> GooseForCausalLM:
    """A student whose large matrices hold nothing yet: orthogonal starts would be overwritten."""
    with torch.device("meta"):
        student = GooseForCausalLM(config)
    student.to_empty(device="cpu").tie_weights()
    initialise_vectors(student)
    return student


def _attention(teacher: Teacher, layer: int, *, looks_back_H: Tensor | None) -> Attention:
    attention, family = teacher.attention(layer), teacher.family
    size, heads = head_size(teacher.config), teacher.config.num_attention_heads
    queries, keys, values = (
        linear(attention, rows) for rows in (family.queries, family.keys, family.values)
    )
    return Attention(
        queries=queries,
        keys=_repeat_heads(keys, heads, size),
        values=_repeat_heads(values, heads, size),
        output=linear(attention, family.output),
        scaling=cast(float, attention.scaling),
        query_norm=_norm_state(attention, family.query_norm),
        key_norm=_norm_state(attention, family.key_norm),
        looks_back_H=looks_back_H,
    )


def _norm_state(attention: nn.Module, name: str) -> dict[str, Tensor]:
    """State of a norm of single heads; empty in families without."""
    return dict(getattr(attention, name).state_dict()) if name else {}


def _repeat_heads(rows: Linear, heads: int, size: int) -> Linear:
    """Repeat the rows of each of a teacher's fewer key-value heads."""

    def repeated(tensor: Tensor) -> Tensor:
        by_head = tensor.reshape(-1, size, *tensor.shape[1:])
        if heads % by_head.shape[0]:
            raise TeacherError(f"{by_head.shape[0]} key-value heads do not divide {heads} heads")
        return by_head.repeat_interleave(heads // by_head.shape[0], dim=0).flatten(0, 1)

    bias_O = None if rows.bias_O is None else repeated(rows.bias_O)
    return Linear(repeated(rows.weight_OK), bias_O)
