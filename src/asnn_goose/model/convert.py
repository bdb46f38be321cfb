"""From a pretrained transformer to a recurrent student that inherits its weights."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from asnn_goose.model.block_sites import attention_scaling
from asnn_goose.model.families import TeacherError, first_of
from asnn_goose.model.goose.causal_lm import GooseForCausalLM
from asnn_goose.model.goose.config import GooseConfig
from asnn_goose.model.goose.initialise import initialise_vectors
from asnn_goose.model.parts.attention import Attention
from asnn_goose.model.presets import preset_settings
from asnn_goose.model.rotations import rotations
from asnn_goose.model.rows import Linear, linear
from asnn_goose.model.starts.look_back import looks_back
from asnn_goose.model.teacher import Teacher
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
    "norm_place",
    "parallel",
    "logit_cap",
    "qk_norm",
    "qk_norm_over",
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
    # Transformers keeps any keyword as an attribute: a typo would pass and change nothing.
    for unknown in sorted(set(overrides) - set(known)):
        raise ValueError(f"{unknown} is no setting of GooseConfig: {hint(unknown, sorted(known))}")
    if preset is not None:
        chosen = preset_settings(preset, width=teacher.config.hidden_size)
    settings = {**_shape(teacher), **_parts(teacher), **_tokens(teacher), **chosen}
    # Learned positions are in the stream already; rotations would count them twice.
    if teacher.positions is not None:
        settings["rope"] = False
    if overrides.get("rope", settings.get("rope", False)) and teacher.positions is None:
        settings |= _rotation(teacher)
    config = GooseConfig(**{**settings, **overrides})
    config.check_precision()
    return config


def _rotation(teacher: Teacher) -> dict[str, Any]:
    """How the teacher turns queries and keys. Raises ValueError where a student cannot follow."""
    try:
        found = rotations(teacher.model, name=teacher.name)
    except TeacherError as error:
        raise ValueError(
            f"rope = true: {error}; convert it with rope = false, or as variant = 'goose'"
        ) from error
    turned = [rotation for rotation in found if rotation.theta]
    if len({rotation.channels for rotation in turned}) > 1:
        raise ValueError(
            f"rope = true: teacher {teacher.name!r} turns another number of channels in some "
            "layers than in others; convert it with rope = false, or as variant = 'goose'"
        )
    if not turned:
        return {"rope": False}
    alike = len(set(found)) == 1
    return {
        "rope_theta": turned[0].theta,
        "rope_thetas": None if alike else [rotation.theta for rotation in found],
        "rope_channels": turned[0].channels,
    }


def _shape(teacher: Teacher) -> dict[str, Any]:
    source, positions = teacher.config, teacher.positions
    return {
        "hidden_size": source.hidden_size,
        "num_hidden_layers": source.num_hidden_layers,
        "num_attention_heads": source.num_attention_heads,
        "head_size": teacher.heads.size,
        "intermediate_size": _mlp_matrix(teacher, "up").weight_OK.shape[0],
        "n_positions": 0 if positions is None else positions.num_embeddings,
    }


def _parts(teacher: Teacher) -> dict[str, Any]:
    source, family, attention = teacher.config, teacher.family, teacher.attention(0)
    queries, output = (linear(attention, x, teacher.heads) for x in (family.queries, family.output))
    return {
        "mlp": family.mlp_kind,
        "hidden_act": getattr(source, family.activation),
        "norm": family.norm,
        "norm_eps": getattr(source, family.norm_eps),
        "norm_place": family.norm_place,
        "parallel": family.parallel(source),
        "logit_cap": teacher.scales.cap,
        "embedding_norm": False,
        "qk_norm": bool(family.query_norm),
        "qk_norm_over": "all" if family.norms_all_heads else "head",
        "qkv_bias": queries.bias_O is not None,
        "output_bias": output.bias_O is not None,
        "mlp_bias": _mlp_matrix(teacher, "up").bias_O is not None,
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
    found = linear(teacher.mlp(layer), teacher.family.mlp[name], teacher.heads)
    return found.times(teacher.scales.residual) if name == "down" else found


@torch.no_grad()
def convert(
    teacher: Teacher, *, variant: str = DEFAULT_VARIANT, **overrides: Any
) -> GooseForCausalLM:
    """A dense student of `teacher`: same shape, weights inherited, mixers near neutral.

    Mixers take over the attention, key-value heads repeated, as they say themselves; embedding,
    learned positions, head, norms and MLPs are copied. The result needs the align stage before it
    speaks. Factors of the teacher's are in the weights (`model.scales`). Raises ValueError for a
    student of another shape.
    """
    config = student_config(teacher, variant=variant, **overrides)
    _check_inherited(config, teacher)
    student = _bare_student(config)
    student.embedding.weight.copy_(teacher.embedding_VD)
    student.lm_head.weight.copy_(teacher.student_head_VD)
    if teacher.positions is not None and student.positions is not None:
        student.positions.weight.copy_(teacher.positions.weight)
    _inherit_norm(student.final_norm, teacher.final_norm, teacher, scale=teacher.scales.final_norm)
    # Only where it is used: it costs a forward pass of the teacher.
    back_LH = looks_back(teacher) if config.value_shift else None
    for index, block in enumerate(student.blocks):
        source = teacher.layers[index]
        family = teacher.family
        for norm, theirs in (
            (block.mixer_norm, first_of(source, family.mixer_norm)),
            (block.mixer_after, first_of(source, (family.mixer_after,))),
            (block.mlp_norm, first_of(source, family.mlp_norm)),
            (block.mlp_after, first_of(source, (family.mlp_after,))),
        ):
            if theirs is not None:
                _inherit_norm(norm, theirs, teacher)
        names = family.mlp
        block.mlp.inherit({name: _mlp_matrix(teacher, name, index) for name in names})
        back_H = None if back_LH is None else back_LH[index]
        block.mixer.inherit(_attention(teacher, index, looks_back_H=back_H))
    # As `from_pretrained` hands a model out: precision that behaves otherwise in training must be
    # asked for.
    student.train(False)
    return student


def _inherit_norm(
    norm: nn.Module, theirs: nn.Module, teacher: Teacher, *, scale: float = 1.0
) -> None:
    """Gain and bias of a teacher's norm, the gain as what it multiplies by, both times `scale`."""
    for name, own in norm.named_parameters():
        offset = teacher.family.norm_offset if name == "weight" else 0.0
        own.copy_((theirs.get_parameter(name) + offset) * scale)


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
    # Tied after the move: `to_empty` gives embedding and head memory of their own.
    student.to_empty(device="cpu").tie_weights()
    initialise_vectors(student)
    return student


def _attention(teacher: Teacher, layer: int, *, looks_back_H: Tensor | None) -> Attention:
    attention, family = teacher.attention(layer), teacher.family
    heads, _, size = teacher.heads
    queries, keys, values, output = (
        linear(attention, rows, teacher.heads)
        for rows in (family.queries, family.keys, family.values, family.output)
    )
    return Attention(
        queries=queries,
        keys=_repeat_heads(keys, heads, size),
        values=_repeat_heads(values, heads, size),
        output=output.times(teacher.scales.residual),
        scaling=attention_scaling(attention, size**-0.5),
        query_norm=_gains(teacher, attention, family.query_norm),
        key_norm=_gains(teacher, attention, family.key_norm),
        looks_back_H=looks_back_H,
    )


def _gains(teacher: Teacher, attention: nn.Module, name: str) -> Tensor | None:
    """Gains of a norm of queries or keys, those of all heads repeated; None in families without."""
    if not name:
        return None
    gains_C: Tensor = getattr(attention, name).weight + teacher.family.norm_offset
    if not teacher.family.norms_all_heads:
        return gains_C
    return _repeated(gains_C, teacher.heads.queries, teacher.heads.size)


def _repeat_heads(rows: Linear, heads: int, size: int) -> Linear:
    """Repeat the rows of each of a teacher's fewer key-value heads."""
    bias_O = None if rows.bias_O is None else _repeated(rows.bias_O, heads, size)
    return Linear(_repeated(rows.weight_OK, heads, size), bias_O)


def _repeated(tensor: Tensor, heads: int, size: int) -> Tensor:
    by_head = tensor.reshape(-1, size, *tensor.shape[1:])
    if heads % by_head.shape[0]:
        raise TeacherError(f"{by_head.shape[0]} key-value heads do not divide {heads} heads")
    # The state of a head is its own: what attention shares between query heads a recurrence has to
    # hold for each.
    return by_head.repeat_interleave(heads // by_head.shape[0], dim=0).flatten(0, 1)
