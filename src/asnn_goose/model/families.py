"""Model families that can teach: where each of them keeps what a student inherits."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from torch import Tensor, nn
from transformers import PreTrainedConfig
from transformers.pytorch_utils import Conv1D


class TeacherError(ValueError):
    """A model cannot serve as a teacher; the message says which and why."""


class Rows(NamedTuple):
    """Output rows of the linear layer `module`: all, or one of `parts` equal shares of them."""

    module: str
    part: int = 0
    parts: int = 1


class Linear(NamedTuple):
    """A linear map as students keep it: weight (out, in) and bias (out,), or None."""

    weight_OK: Tensor
    bias_O: Tensor | None


@dataclass(frozen=True, kw_only=True)
class Family:
    """Where a model family keeps what is needed of it, as attribute names.

    layers, final_norm, positions   in the base model; `positions` is the table of learned ones
    attention, mixer_norm, mlp_norm in a block, whose MLP is called `mlp` in every family
    queries, keys, values, output   in the attention, as are query_norm and key_norm (per head)
    mlp_kind, mlp                   row of `model.mlps.MLPS`, and its matrices: our name -> theirs
    norm, norm_eps, activation      kind of the norms, and settings of the family's configuration
    Empty names stand for what a family does not have.
    """

    layers: str
    final_norm: str
    attention: str
    mixer_norm: str
    mlp_norm: str
    queries: Rows
    keys: Rows
    values: Rows
    output: Rows
    mlp_kind: str
    mlp: dict[str, Rows] = field(hash=False)
    norm: str
    norm_eps: str
    activation: str
    positions: str = ""
    query_norm: str = ""
    key_norm: str = ""


_LLAMA = Family(
    layers="layers",
    final_norm="norm",
    attention="self_attn",
    mixer_norm="input_layernorm",
    mlp_norm="post_attention_layernorm",
    queries=Rows("q_proj"),
    keys=Rows("k_proj"),
    values=Rows("v_proj"),
    output=Rows("o_proj"),
    mlp_kind="gated",
    mlp={"gate": Rows("gate_proj"), "up": Rows("up_proj"), "down": Rows("down_proj")},
    norm="rms",
    norm_eps="rms_norm_eps",
    activation="hidden_act",
)

_GPT2 = Family(
    layers="h",
    final_norm="ln_f",
    attention="attn",
    mixer_norm="ln_1",
    mlp_norm="ln_2",
    queries=Rows("c_attn", 0, 3),
    keys=Rows("c_attn", 1, 3),
    values=Rows("c_attn", 2, 3),
    output=Rows("c_proj"),
    mlp_kind="plain",
    mlp={"up": Rows("c_fc"), "down": Rows("c_proj")},
    norm="layer",
    norm_eps="layer_norm_epsilon",
    activation="activation_function",
    positions="wpe",
)

FAMILIES: dict[str, Family] = {
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": replace(_LLAMA, query_norm="q_norm", key_norm="k_norm"),
    "gpt2": _GPT2,
}
"""Supported families by `model_type`. Biases are read from the weights, not listed here."""


def family_of(config: PreTrainedConfig, *, name: str) -> Family:
    """The family of a model; TeacherError names it and the supported ones if it is not one."""
    if config.model_type not in FAMILIES:
        raise TeacherError(
            f"teacher {name!r} is of the family {config.model_type!r}, which is not supported; "
            f"supported: {', '.join(sorted(FAMILIES))}"
        )
    return FAMILIES[config.model_type]


def head_size(config: PreTrainedConfig) -> int:
    """Channels per attention head."""
    explicit = getattr(config, "head_dim", None)
    # Some families have heads of another size than width over heads, and say so.
    return int(explicit or config.hidden_size // config.num_attention_heads)


def rope_settings(config: PreTrainedConfig) -> dict[str, Any]:
    """What the configuration says of rotary positions; empty where it says nothing."""
    return dict(getattr(config, "rope_parameters", None) or {})


def rope_base(config: PreTrainedConfig, *, name: str) -> float:
    """The base of plain rotary positions over whole heads.

    Raises TeacherError for another kind: its angles are not those of a base alone, and to take
    them for such would give every long-range pair a wrong angle.
    """
    settings = rope_settings(config)
    kind, share = settings.get("rope_type", "default"), settings.get("partial_rotary_factor", 1.0)
    if kind != "default" or share != 1.0:
        what = f"rope_type = {kind!r}" if kind != "default" else f"partial_rotary_factor = {share}"
        raise TeacherError(
            f"teacher {name!r} has {what}; only plain rotary positions can be followed"
        )
    return float(settings.get("rope_theta", 10000.0))


def check_apart(config: PreTrainedConfig, window: int, *, name: str) -> None:
    """Raise TeacherError where the longest document of a window turns the angles of all others.

    Up to the length that a model was made for all angles are as they are in a text alone.
    """
    settings = rope_settings(config)
    kind = settings.get("rope_type", "default")
    alike = settings.get("short_factor") == settings.get("long_factor")
    if kind not in ("dynamic", "longrope") or (kind == "longrope" and alike):
        return
    made_for = settings.get("original_max_position_embeddings") or config.max_position_embeddings
    if window > made_for:
        raise TeacherError(
            f"teacher {name!r} has rope_type = {kind!r}, whose angles follow the longest document"
            f" of a window: with data.resets a window may have {made_for} tokens, not {window}"
        )


def linear(owner: nn.Module, rows: Rows) -> Linear:
    """Weight and bias of some rows of a linear layer of `owner`.

    GPT-2's Conv1D keeps its weight as (in, out): it is turned around here.
    """
    module = getattr(owner, rows.module)
    weight_OK: Tensor = module.weight.T if isinstance(module, Conv1D) else module.weight
    bias_O: Tensor | None = module.bias
    if bias_O is not None:
        bias_O = bias_O.chunk(rows.parts)[rows.part]
    return Linear(weight_OK.chunk(rows.parts)[rows.part], bias_O)
