"""From a pretrained transformer to a recurrent student that inherits its weights."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, cast

import torch
from torch import Tensor
from transformers import PreTrainedConfig

from asnn_goose.model.families import Linear, TeacherError, head_size, linear
from asnn_goose.model.goose.causal_lm import GooseForCausalLM
from asnn_goose.model.goose.initialise import initialise_vectors
from asnn_goose.model.mixers.rwkv7.mixer import RWKV7Mixer
from asnn_goose.model.parts.config import GooseConfig
from asnn_goose.model.parts.projection import Projection
from asnn_goose.model.starts.look_back import looking_back, start_looking_back
from asnn_goose.model.teacher import Teacher

VARIANTS: MappingProxyType[str, dict[str, Any]] = MappingProxyType(
    {
        "goose": {"gate": "one_plus"},
        "radlads": {"gate": "sigmoid", "token_shift": False, "bonus": False, "rope": True},
        "arwkv": {"gate": "one_plus", "v_first": "detached"},
        "arwkv_no_gate": {"gate": "none", "group_norm": False, "v_first": "detached"},
    }
)
"""Mixer settings of published conversions (RADLADS arXiv 2505.03005, ARWKV arXiv 2501.15570)
and our own, "goose"."""

DEFAULT_VARIANT = "radlads"
"""What a token of training buys most with, of these (docs/results.md)."""

NORM_START = 0.05
"""Group-norm weight of a converted mixer: attention outputs are small averages of values."""

VALUE_MIX_START = -4.0
"""Bias that starts the mixing of first-block values at under 2 %."""

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
)
"""Settings that a student's weights dictate; biases and a tied head may be changed."""


def student_config(
    teacher: Teacher, *, variant: str = DEFAULT_VARIANT, **overrides: Any
) -> GooseConfig:
    """Configuration of a student that can inherit `teacher`'s weights.

    `variant` is a row of VARIANTS; `overrides` are fields of GooseConfig and win over it. A
    variant rotates r and k only where the teacher rotates q and k. Raises ValueError for an
    unknown variant or field, or a precision that does not fit.
    """
    if variant not in VARIANTS:
        raise ValueError(f"variant = {variant!r}: choose one of {', '.join(sorted(VARIANTS))}")
    unknown = sorted(set(overrides) - set(GooseConfig.__dataclass_fields__))
    if unknown:
        raise ValueError(f"{unknown[0]} is no setting of GooseConfig")
    settings = {**_shape(teacher), **_parts(teacher), **_tokens(teacher), **VARIANTS[variant]}
    if teacher.positions is not None:
        settings["rope"] = False
    config = GooseConfig(**{**settings, **overrides})
    config.check_precision()
    return config


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
        "rope_theta": _rope_theta(source),
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


def _rope_theta(source: PreTrainedConfig) -> float:
    return float((getattr(source, "rope_parameters", None) or {}).get("rope_theta", 10000.0))


@torch.no_grad()
def convert(
    teacher: Teacher, *, variant: str = DEFAULT_VARIANT, **overrides: Any
) -> GooseForCausalLM:
    """A dense RWKV-7 student of `teacher`: same shape, weights inherited, mixers near neutral.

    q, k, v, o become r, k, v and the output projection (key-value heads repeated, k scaled by
    1/sqrt(head size), in the norm of k where there is one); embedding, learned positions, head,
    norms and MLPs are copied. Token shift starts at zero, gates at one; a value shift starts at one
    for heads of the teacher that look one token back (starts.look_back). The result needs the
    align stage before it speaks. Raises ValueError for a student of another shape.
    """
    config = student_config(teacher, variant=variant, **overrides)
    _check_inherited(config, teacher)
    student = _bare_student(config)
    student.embedding.weight.copy_(teacher.model.get_input_embeddings().weight)
    student.lm_head.weight.copy_(teacher.model.get_output_embeddings().weight)
    if teacher.positions is not None and student.positions is not None:
        student.positions.weight.copy_(teacher.positions.weight)
    student.final_norm.load_state_dict(teacher.final_norm.state_dict())
    for index, block in enumerate(student.blocks):
        source = teacher.layers[index]
        block.mixer_norm.load_state_dict(getattr(source, teacher.family.mixer_norm).state_dict())
        block.mlp_norm.load_state_dict(getattr(source, teacher.family.mlp_norm).state_dict())
        for name in teacher.family.mlp:
            _copy_linear(getattr(block.mlp, name), _mlp_matrix(teacher, name, index))
        _inherit_attention(block.mixer, teacher, index)
        _start_neutral(block.mixer)
    if config.value_shift:
        theta = None if teacher.positions is not None else _rope_theta(teacher.config)
        masses = looking_back(teacher, rope_theta=theta)
        for block, mass_H in zip(student.blocks, masses, strict=True):
            start_looking_back(block.mixer, mass_H)
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


def _inherit_attention(mixer: RWKV7Mixer, teacher: Teacher, layer: int) -> None:
    attention, family = teacher.attention(layer), teacher.family
    size, heads = mixer.head_size, mixer.heads
    scale = cast(float, attention.scaling)  # 1/sqrt(size), which a recurrence must find in k
    in_projection = 1.0 if family.key_norm else scale  # a norm would undo it
    queries, keys, values = (
        linear(attention, rows) for rows in (family.queries, family.keys, family.values)
    )
    _copy_linear(mixer.receptance, queries)
    _copy_linear(mixer.key, _repeat_heads(keys, heads, size), scale=in_projection)
    _copy_linear(mixer.value, _repeat_heads(values, heads, size))
    _copy_linear(mixer.output, linear(attention, family.output))
    if family.key_norm and mixer.query_norm is not None and mixer.key_norm is not None:
        mixer.query_norm.load_state_dict(getattr(attention, family.query_norm).state_dict())
        mixer.key_norm.load_state_dict(getattr(attention, family.key_norm).state_dict())
        mixer.key_norm.weight.mul_(scale)


def _copy_linear(ours: Projection, theirs: Linear, *, scale: float = 1.0) -> None:
    """Copy weight and bias, times `scale`; a bias that the teacher lacks stays at zero.

    A matrix whose precision says `rotate` gets its weights in the rotated basis.
    """
    ours.weight.copy_(theirs.weight_OK).mul_(scale)
    if ours.bias is not None and theirs.bias_O is not None:
        ours.bias.copy_(theirs.bias_O).mul_(scale)
    ours.into_basis_()


def _repeat_heads(rows: Linear, heads: int, size: int) -> Linear:
    """Repeat the rows of each of a teacher's fewer key-value heads."""

    def repeated(tensor: Tensor) -> Tensor:
        by_head = tensor.reshape(-1, size, *tensor.shape[1:])
        if heads % by_head.shape[0]:
            raise TeacherError(f"{by_head.shape[0]} key-value heads do not divide {heads} heads")
        return by_head.repeat_interleave(heads // by_head.shape[0], dim=0).flatten(0, 1)

    bias_O = None if rows.bias_O is None else repeated(rows.bias_O)
    return Linear(repeated(rows.weight_OK), bias_O)


def _start_neutral(mixer: RWKV7Mixer) -> None:
    """Parts that the teacher lacks start without effect but not symmetric."""
    if mixer.shift is not None:
        mixer.shift.mix.zero_()
    if mixer.removal is not None:
        mixer.removal.fill_(1.0)
    if mixer.bonus is not None:
        mixer.bonus.zero_()
    if mixer.norm is not None:
        mixer.norm.weight.fill_(NORM_START)
    if mixer.value_mix is not None and mixer.value_mix.bias is not None:
        mixer.value_mix.bias.fill_(VALUE_MIX_START)
    if mixer.gate is not None:
        up = mixer.gate.up
        up.sub_(up.mean(0))  # sigma(0) = 1/2 everywhere: zero column sums add nothing
        if mixer.gate_kind == "sigmoid":
            up.add_(2.0 / up.shape[0])
