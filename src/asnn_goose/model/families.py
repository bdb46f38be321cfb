"""Model families that can teach: where each of them keeps what a student inherits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn
from transformers import PreTrainedConfig

from asnn_goose.model.rows import Heads, Rows


class TeacherError(ValueError):
    """A model cannot serve as a teacher; the message says which and why."""


Config = PreTrainedConfig


def _key_heads(config: Config) -> int:
    return int(getattr(config, "num_key_value_heads", None) or config.num_attention_heads)


def _serial(config: Config) -> bool:
    return False


def _nothing(config: Config) -> str:
    return ""


@dataclass(frozen=True, kw_only=True)
class Family:
    """Where a model family keeps what is needed of it, as attribute names.

    layers, final_norm, positions   in the base model; `positions` is the table of learned ones
    attention, mixer_norm, mlp_norm in a block, whose MLP is called `mlp` in every family; of
                                    several names of a norm the first counts that a block has
    mixer_after, mlp_after          norms of what attention and MLP give, before it is added
    queries, keys, values, output   in the attention, as are query_norm and key_norm
    norms_all_heads                 whether those two normalise all heads as one
    heads_first                     whether what those two give has heads before tokens
    mlp_kind, mlp                   row of `model.mlps.MLPS`, and its matrices: our name -> theirs
    norm, norm_eps, activation      kind of the norms, and settings of the family's configuration
    norm_offset                     what is added to a norm's weight before it multiplies
    embedding_scale, residual_scale, logit_divisor, logit_cap
                                    settings: factors of the embedding and of what a block adds,
                                    divisor of the logits, and bound of their tanh
    parallel, key_heads             of a configuration: whether attention and MLP read the same
                                    residual stream, and the number of key heads
    refusal                         what of a configuration cannot be followed, empty for nothing
    Empty names stand for what a family does not have.
    """

    layers: str
    final_norm: str
    attention: str
    mixer_norm: tuple[str, ...]
    mlp_norm: tuple[str, ...]
    queries: Rows
    keys: Rows
    values: Rows
    output: Rows
    mlp_kind: str
    mlp: dict[str, Rows] = field(hash=False)
    norm: str
    norm_eps: str
    activation: str
    mixer_after: str = ""
    mlp_after: str = ""
    positions: str = ""
    query_norm: str = ""
    key_norm: str = ""
    norms_all_heads: bool = False
    heads_first: bool = False
    norm_offset: float = 0.0
    embedding_scale: str = ""
    residual_scale: str = ""
    logit_divisor: str = ""
    logit_cap: str = ""
    parallel: Callable[[Config], bool] = _serial
    key_heads: Callable[[Config], int] = _key_heads
    refusal: Callable[[Config], str] = _nothing

    @property
    def norm_place(self) -> str:
        """Where a block has its norms, in the words of a student's setting."""
        if not self.mixer_after:
            return "before"
        return "both" if self.mixer_norm else "after"


def _fused(module: str, how: str) -> dict[str, Any]:
    return {name: Rows(module, n, how) for n, name in enumerate(("queries", "keys", "values"))}


_LLAMA = Family(
    layers="layers",
    final_norm="norm",
    attention="self_attn",
    mixer_norm=("input_layernorm",),
    mlp_norm=("post_attention_layernorm",),
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
    mixer_norm=("ln_1",),
    mlp_norm=("ln_2",),
    **_fused("c_attn", "stacked"),
    output=Rows("c_proj"),
    mlp_kind="plain",
    mlp={"up": Rows("c_fc"), "down": Rows("c_proj")},
    norm="layer",
    norm_eps="layer_norm_epsilon",
    activation="activation_function",
    positions="wpe",
)

_NEOX = Family(
    layers="layers",
    final_norm="final_layer_norm",
    attention="attention",
    mixer_norm=("input_layernorm",),
    mlp_norm=("post_attention_layernorm",),
    **_fused("query_key_value", "grouped"),
    output=Rows("dense"),
    mlp_kind="plain",
    mlp={"up": Rows("dense_h_to_4h"), "down": Rows("dense_4h_to_h")},
    norm="layer",
    norm_eps="layer_norm_eps",
    activation="hidden_act",
    parallel=lambda config: bool(config.use_parallel_residual),
)

_FALCON = replace(
    _NEOX,
    layers="h",
    final_norm="ln_f",
    attention="self_attention",
    mixer_norm=("ln_attn", "input_layernorm"),
    mlp_norm=("ln_mlp", "post_attention_layernorm", "input_layernorm"),
    norm_eps="layer_norm_epsilon",
    activation="activation",
    parallel=lambda config: bool(config.new_decoder_architecture or config.parallel_attn),
    key_heads=lambda config: (
        1
        if config.multi_query and not config.new_decoder_architecture
        else int(config.num_kv_heads)
    ),
    refusal=lambda config: "alibi = True; only rotary positions" if config.alibi else "",
)

_OLMO2 = replace(
    _LLAMA,
    mixer_norm=(),
    mlp_norm=(),
    mixer_after="post_attention_layernorm",
    mlp_after="post_feedforward_layernorm",
    query_norm="q_norm",
    key_norm="k_norm",
    norms_all_heads=True,
)

_GEMMA2 = replace(
    _LLAMA,
    mlp_norm=("pre_feedforward_layernorm",),
    mixer_after="post_attention_layernorm",
    mlp_after="post_feedforward_layernorm",
    norm_offset=1.0,
    activation="hidden_activation",
    logit_cap="final_logit_softcapping",
    refusal=lambda config: (
        "use_bidirectional_attention = True; only causal attention"
        if getattr(config, "use_bidirectional_attention", False)
        else ""
    ),
)

FAMILIES: dict[str, Family] = {
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": replace(_LLAMA, query_norm="q_norm", key_norm="k_norm"),
    "smollm3": _LLAMA,
    "phi3": replace(
        _LLAMA,
        **_fused("qkv_proj", "stacked"),
        mlp={
            "gate": Rows("gate_up_proj", 0, "halves"),
            "up": Rows("gate_up_proj", 1, "halves"),
            "down": Rows("down_proj"),
        },
    ),
    "granite": replace(
        _LLAMA,
        embedding_scale="embedding_multiplier",
        residual_scale="residual_multiplier",
        logit_divisor="logits_scaling",
    ),
    "olmo2": _OLMO2,
    "olmo3": _OLMO2,
    "gemma2": _GEMMA2,
    "gemma3_text": replace(_GEMMA2, query_norm="q_norm", key_norm="k_norm", heads_first=True),
    "gpt2": _GPT2,
    "gpt_neox": _NEOX,
    "falcon": _FALCON,
}
"""Supported families by `model_type`. Biases are read from the weights, not listed here."""


def family_of(config: Config, *, name: str) -> Family:
    """The family of a model; TeacherError names it and the supported ones if it is not one."""
    if config.model_type not in FAMILIES:
        raise TeacherError(
            f"teacher {name!r} is of the family {config.model_type!r}, which is not supported; "
            f"supported: {', '.join(sorted(FAMILIES))}"
        )
    family = FAMILIES[config.model_type]
    if what := family.refusal(config):
        raise TeacherError(f"teacher {name!r} has {what} can be followed")
    return family


def head_size(config: Config) -> int:
    """Channels per attention head."""
    explicit = getattr(config, "head_dim", None)
    # Some families have heads of another size than width over heads, and say so.
    return int(explicit or config.hidden_size // config.num_attention_heads)


def heads_of(config: Config, family: Family) -> Heads:
    """Heads of queries, of keys and values, and the size of one."""
    return Heads(config.num_attention_heads, family.key_heads(config), head_size(config))


def number(config: Config, setting: str, default: float) -> float:
    """A number of a family's configuration; the default where it has none of it."""
    found: Any = getattr(config, setting, None) if setting else None
    return default if found is None else float(found)


def first_of(block: nn.Module, names: tuple[str, ...]) -> nn.Module | None:
    """The first module of a block that goes by one of the names; None where it has none."""
    found: nn.Module | None = next((getattr(block, n) for n in names if hasattr(block, n)), None)
    return found
