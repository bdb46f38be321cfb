"""From a pretrained transformer to a recurrent student that inherits its weights."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from asnn_goose.model.goose.causal_lm import GooseForCausalLM
from asnn_goose.model.goose.config import GooseConfig
from asnn_goose.model.goose.initialise import initialise_vectors
from asnn_goose.model.goose.projection import Projection
from asnn_goose.model.mixers.rwkv7 import RWKV7Mixer
from asnn_goose.model.teacher import Teacher, TeacherError, head_size

VARIANTS: MappingProxyType[str, dict[str, Any]] = MappingProxyType(
    {
        "goose": {"gate": "one_plus"},
        "radlads": {"gate": "sigmoid", "token_shift": False, "bonus": False, "rope": True},
        "arwkv": {"gate": "one_plus", "v_first": "detached"},
        "arwkv_no_gate": {"gate": "none", "group_norm": False, "v_first": "detached"},
    }
)
"""Mixer settings of published conversions (RADLADS arXiv 2505.03005, ARWKV arXiv 2501.15570)
and our default."""

NORM_START = 0.05
"""Group-norm weight of a converted mixer: attention outputs are small averages of values."""

VALUE_MIX_START = -4.0
"""Bias that starts the mixing of first-block values at under 2 %."""


def student_config(teacher: Teacher, *, variant: str = "goose", **overrides: Any) -> GooseConfig:
    """Configuration of a student that can inherit `teacher`'s weights.

    `variant` is a row of VARIANTS; `overrides` are fields of GooseConfig and win over it.
    Raises ValueError for an unknown variant or field, or a precision that does not fit.
    """
    if variant not in VARIANTS:
        raise ValueError(f"variant = {variant!r}: choose one of {', '.join(sorted(VARIANTS))}")
    unknown = sorted(set(overrides) - set(GooseConfig.__dataclass_fields__))
    if unknown:
        raise ValueError(f"{unknown[0]} is no setting of GooseConfig")
    source, attention = teacher.config, _attention(teacher, 0)
    settings: dict[str, Any] = {
        "vocab_size": source.vocab_size,
        "hidden_size": source.hidden_size,
        "num_hidden_layers": source.num_hidden_layers,
        "num_attention_heads": source.num_attention_heads,
        "head_size": head_size(source),
        "intermediate_size": source.intermediate_size,
        "hidden_act": source.hidden_act,
        "mlp": "gated",
        "norm": "rms",
        "norm_eps": source.rms_norm_eps,
        "embedding_norm": False,
        "tie_word_embeddings": source.tie_word_embeddings,
        "qkv_bias": getattr(attention, teacher.family.queries).bias is not None,
        "output_bias": getattr(attention, teacher.family.output).bias is not None,
        "mlp_bias": getattr(teacher.layers[0].mlp, teacher.family.mlp["up"]).bias is not None,
        "rope_theta": float((source.rope_parameters or {}).get("rope_theta", 10000.0)),
        "bos_token_id": source.bos_token_id,
        "eos_token_id": source.eos_token_id,
        "pad_token_id": source.pad_token_id,
    }
    config = GooseConfig(**{**settings, **VARIANTS[variant], **overrides})
    config.check_precision()
    return config


@torch.no_grad()
def convert(teacher: Teacher, *, variant: str = "goose", **overrides: Any) -> GooseForCausalLM:
    """A dense RWKV-7 student of `teacher`: same shape, weights inherited, mixers near neutral.

    q, k, v, o become r, k, v and the output projection (key-value heads repeated, k scaled by
    1/sqrt(head size)); embedding, head, norms and MLPs are copied. Token shift starts at zero,
    gates at one. The result needs the align stage before it speaks.
    """
    student = _bare_student(student_config(teacher, variant=variant, **overrides))
    config = student.config
    for setting, found, wanted in (
        ("hidden_size", config.hidden_size, teacher.config.hidden_size),
        ("num_hidden_layers", config.num_hidden_layers, teacher.config.num_hidden_layers),
        ("mlp", config.mlp, "gated"),
        ("norm", config.norm, "rms"),
    ):
        if found != wanted:
            raise ValueError(f"{setting} = {found!r}: a student of {teacher.name} needs {wanted!r}")
    student.embedding.weight.copy_(teacher.model.get_input_embeddings().weight)
    student.lm_head.weight.copy_(teacher.model.get_output_embeddings().weight)
    student.final_norm.weight.copy_(teacher.model.model.norm.weight)
    for index, block in enumerate(student.blocks):
        source = teacher.layers[index]
        block.mixer_norm.weight.copy_(getattr(source, teacher.family.mixer_norm).weight)
        block.mlp_norm.weight.copy_(getattr(source, teacher.family.mlp_norm).weight)
        for ours, theirs in teacher.family.mlp.items():
            _copy_linear(getattr(block.mlp, ours), getattr(source.mlp, theirs))
        _inherit_attention(block.mixer, teacher, index)
        _start_neutral(block.mixer)
    student.train(False)
    return student


def _bare_student(config: GooseConfig) -> GooseForCausalLM:
    """A student whose large matrices hold nothing yet: orthogonal starts would be overwritten."""
    with torch.device("meta"):
        student = GooseForCausalLM(config)
    student.to_empty(device="cpu").tie_weights()
    initialise_vectors(student)
    return student


def _attention(teacher: Teacher, layer: int) -> nn.Module:
    attention: nn.Module = getattr(teacher.layers[layer], teacher.family.attention)
    return attention


def _inherit_attention(mixer: RWKV7Mixer, teacher: Teacher, layer: int) -> None:
    attention, family = _attention(teacher, layer), teacher.family
    size, heads = mixer.head_size, mixer.heads
    _copy_linear(mixer.receptance, getattr(attention, family.queries))
    _copy_linear(mixer.key, getattr(attention, family.keys), heads=heads, size=size)
    _copy_linear(mixer.value, getattr(attention, family.values), heads=heads, size=size)
    _copy_linear(mixer.output, getattr(attention, family.output))
    for parameter in mixer.key.parameters():
        parameter.mul_(size**-0.5)


def _copy_linear(ours: Projection, theirs: nn.Linear, *, heads: int = 0, size: int = 0) -> None:
    """Copy weight and bias; with `heads`, repeat the rows of each of theirs' fewer heads.

    A matrix whose precision says `rotate` gets its weights in the rotated basis.
    """
    for name in ("weight", "bias"):
        target, source = getattr(ours, name), getattr(theirs, name)
        if target is not None:
            target.copy_(_repeat_heads(source, heads, size) if heads else source)
    ours.into_basis_()


def _repeat_heads(rows: Tensor, heads: int, size: int) -> Tensor:
    by_head = rows.view(-1, size, *rows.shape[1:])
    if heads % by_head.shape[0]:
        raise TeacherError(f"{by_head.shape[0]} key-value heads do not divide {heads} heads")
    return by_head.repeat_interleave(heads // by_head.shape[0], dim=0).flatten(0, 1)


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
