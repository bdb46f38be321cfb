"""Teachers: pretrained causal language models whose inside a student can look at."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from asnn_goose.sources import cache_dir, new_folder, teacher_folder
from asnn_goose.trace import NEEDS, Trace


class TeacherError(ValueError):
    """A model cannot serve as a teacher; the message says which and why."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """Where a model family keeps what is needed of it, as attribute names."""

    attention: str
    mixer_norm: str
    mlp_norm: str
    queries: str
    keys: str
    values: str
    output: str
    mlp: dict[str, str]
    """Matrices of the gated MLP: the student's name -> the family's."""


FAMILIES: dict[str, Family] = {
    "llama": Family(
        attention="self_attn",
        mixer_norm="input_layernorm",
        mlp_norm="post_attention_layernorm",
        queries="q_proj",
        keys="k_proj",
        values="v_proj",
        output="o_proj",
        mlp={"gate": "gate_proj", "up": "up_proj", "down": "down_proj"},
    ),
}
"""Supported families by `model_type`."""


class Teacher:
    """A frozen pretrained model with its tokenizer; `trace` runs it and keeps its inside."""

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None, *, name: str
    ) -> None:
        self.family = family_of(model.config, name=name)
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.name = name

    @property
    def config(self) -> PreTrainedConfig:
        """The model's own configuration."""
        return cast(PreTrainedConfig, self.model.config)

    @property
    def layers(self) -> nn.ModuleList:
        """The blocks, first to last."""
        layers: nn.ModuleList = self.model.model.layers
        return layers

    @torch.no_grad()
    def trace(self, tokens_BT: Tensor, needs: frozenset[str]) -> Trace:
        """Run on tokens (B,T) and keep what `needs` names (trace.NEEDS).

        keys and values are repeated to the full number of heads; queries and keys are taken
        before rotary positions. The head is multiplied only when the Trace is asked for logits.
        """
        if not needs <= NEEDS:
            raise ValueError(f"needs {sorted(needs - NEEDS)}: choose among {sorted(NEEDS)}")
        kept: dict[str, list[Tensor]] = {name: [] for name in needs - {"vocab"}}
        with self._capturing(kept):
            final_BTD = self.model.model(input_ids=tokens_BT, use_cache=False).last_hidden_state
        vocab = "vocab" in needs
        head = self.model.get_output_embeddings()
        return Trace(
            final_BTD=final_BTD if vocab else None,
            head_VD=head.weight if vocab else None,
            **{name: tuple(tensors) for name, tensors in kept.items()},
        )

    @contextmanager
    def _capturing(self, kept: dict[str, list[Tensor]]) -> Iterator[None]:
        """Hooks that append to the lists in `kept` while the model runs."""
        handles = []
        for index, layer in enumerate(self.layers):
            if "hidden" in kept:
                if index == 0:
                    handles.append(layer.register_forward_pre_hook(_keep_input(kept["hidden"])))
                handles.append(layer.register_forward_hook(_keep_output(kept["hidden"])))
            attention = getattr(layer, self.family.attention)
            if "mixer_in" in kept:
                norm = getattr(layer, self.family.mixer_norm)
                handles.append(norm.register_forward_hook(_keep_output(kept["mixer_in"])))
            if "mixer_out" in kept:
                handles.append(attention.register_forward_hook(_keep_output(kept["mixer_out"])))
            for name in ("queries", "keys", "values"):
                if name in kept:
                    projection = getattr(attention, getattr(self.family, name))
                    hook = partial(_keep_heads, kept[name], self.config)
                    handles.append(projection.register_forward_hook(hook))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def _first(output: Any) -> Tensor:
    tensor: Tensor = output[0] if isinstance(output, tuple) else output
    return tensor


def _keep_output(kept: list[Tensor]) -> Any:
    def hook(module: nn.Module, args: Any, output: Any) -> None:
        kept.append(_first(output))

    return hook


def _keep_input(kept: list[Tensor]) -> Any:
    def hook(module: nn.Module, args: Any) -> None:
        kept.append(args[0])

    return hook


def _keep_heads(
    kept: list[Tensor], config: PreTrainedConfig, module: nn.Module, args: Any, output: Any
) -> None:
    size = head_size(config)
    x_BTHN = _first(output).unflatten(-1, (-1, size))
    kept.append(x_BTHN.repeat_interleave(config.num_attention_heads // x_BTHN.shape[2], dim=2))


def head_size(config: PreTrainedConfig) -> int:
    """Channels per attention head."""
    explicit = getattr(config, "head_dim", None)
    return int(explicit or config.hidden_size // config.num_attention_heads)


def family_of(config: PreTrainedConfig, *, name: str) -> Family:
    """The family of a model; TeacherError names it and the supported ones if it is not one."""
    if config.model_type not in FAMILIES:
        raise TeacherError(
            f"teacher {name!r} is of the family {config.model_type!r}, which is not supported; "
            f"supported: {', '.join(sorted(FAMILIES))}"
        )
    return FAMILIES[config.model_type]


def load_teacher(name_or_path: str, *, dtype: torch.dtype = torch.float32) -> Teacher:
    """A teacher by built-in name ("smollm2-135m"), local folder or Hub id.

    A folder may hold a `save_pretrained` layout or a single GGUF file, which is dequantised into
    the cache on first use. The family is checked before any weight is read. Raises TeacherError
    or sources.SourceError.
    """
    folder = teacher_folder(name_or_path)
    try:
        if gguf := gguf_option(folder):
            folder = _dequantised(Path(folder) / gguf["gguf_file"], name=name_or_path)
        family_of(AutoConfig.from_pretrained(folder), name=name_or_path)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    except (OSError, KeyError) as error:
        raise TeacherError(f"teacher {name_or_path!r} cannot be loaded: {error}") from error
    return Teacher(model, tokenizer, name=name_or_path)


def _dequantised(file: Path, *, name: str) -> Path:
    """The model in a GGUF file as an fp32 `save_pretrained` folder in the cache.

    Reading a GGUF takes some 15 seconds every time, reading the folder under one.
    """
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()[:16]
    kept = cache_dir() / "dequantised" / f"{file.stem}-{digest}"
    if not kept.is_dir():
        gguf: dict[str, Any] = {"gguf_file": file.name}
        family_of(AutoConfig.from_pretrained(file.parent, **gguf), name=name)
        model = AutoModelForCausalLM.from_pretrained(file.parent, dtype=torch.float32, **gguf)
        del model.config.quantization_config, model.hf_quantizer  # it is not quantised any more
        with new_folder(kept) as folder:
            model.save_pretrained(folder)
            AutoTokenizer.from_pretrained(file.parent, **gguf).save_pretrained(folder)
    return kept


def gguf_option(folder: str | Path) -> dict[str, str]:
    """`gguf_file` for folders that hold one GGUF file and no config.json, else nothing."""
    path = Path(folder)
    if not path.is_dir() or (path / "config.json").exists():
        return {}
    files = sorted(path.glob("*.gguf"))
    if len(files) != 1:
        raise TeacherError(
            f"folder {path} has no config.json and {len(files)} GGUF files: give a folder with "
            "one model in it"
        )
    return {"gguf_file": files[0].name}
