"""Teachers: pretrained causal language models whose inside a student can look at."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from asnn_goose.model.capture import Keep, first, keep_input, keep_output
from asnn_goose.model.families import (
    FAMILIES,
    Family,
    Rows,
    TeacherError,
    family_of,
    head_size,
    rope_base,
)
from asnn_goose.model.gguf_file import dequantised
from asnn_goose.model.loading import load_weights, load_words, readable
from asnn_goose.model.parts.documents import document_mask, document_positions
from asnn_goose.sources import teacher_folder
from asnn_goose.trace import ATTENTION, NEEDS, PLACES, Trace, Window

__all__ = [
    "FAMILIES",
    "Family",
    "Teacher",
    "TeacherError",
    "family_of",
    "gguf_option",
    "head_size",
    "load_teacher",
    "real_words",
]


class Teacher:
    """A frozen pretrained model with its tokenizer; `trace` runs it and keeps its inside.

    `words` is the number of rows of the head that count: see `real_words`.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None, *, name: str
    ) -> None:
        self.family = family_of(model.config, name=name)
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.name = name
        self.words = real_words(self)

    @property
    def config(self) -> PreTrainedConfig:
        """The model's own configuration."""
        return cast(PreTrainedConfig, self.model.config)

    @property
    def base(self) -> nn.Module:
        """The model without its head."""
        base: nn.Module = self.model.base_model
        return base

    @property
    def layers(self) -> nn.ModuleList:
        """The blocks, first to last."""
        layers: nn.ModuleList = getattr(self.base, self.family.layers)
        return layers

    @property
    def final_norm(self) -> nn.Module:
        """The norm before the head."""
        norm: nn.Module = getattr(self.base, self.family.final_norm)
        return norm

    @property
    def positions(self) -> nn.Embedding | None:
        """Learned positions, which are added to the embedding; None in families without."""
        name = self.family.positions
        return getattr(self.base, name) if name else None

    def attention(self, layer: int) -> nn.Module:
        """The attention of one block."""
        attention: nn.Module = getattr(self.layers[layer], self.family.attention)
        return attention

    def mlp(self, layer: int) -> nn.Module:
        """The MLP of one block."""
        return cast(nn.Module, self.layers[layer].mlp)

    @torch.no_grad()
    def trace(
        self, tokens_BT: Tensor, needs: frozenset[str], *, window: Window | None = None
    ) -> Trace:
        """Run on tokens (B,T) and keep what `needs` names (trace.NEEDS).

        keys and values are repeated to the full number of heads; queries and keys are taken
        after their norms, if any, and before rotary positions, of which the Trace has the base.
        The head is multiplied only when the Trace is asked for logits, and has `words` rows. With
        documents in the `window` no token sees another one, and positions start again with every
        one. Raises TeacherError for more tokens than there are learned positions, and for queries
        or keys of a teacher whose rotations have more than a base.
        """
        if not needs <= NEEDS:
            raise ValueError(f"needs {sorted(needs - NEEDS)}: choose among {sorted(NEEDS)}")
        self._check_length(tokens_BT.shape[1])
        window = window or Window()
        turned = bool(needs & {"queries", "keys"}) and self.positions is None
        theta = rope_base(self.config, name=self.name) if turned else 0.0
        kept: dict[str, list[Tensor]] = {name: [] for name in needs - {"vocab", "embedding"}}
        with self._capturing(kept):
            final_BTD = self.base(
                input_ids=tokens_BT, use_cache=False, **self._apart(window.documents_BT)
            ).last_hidden_state
        found = {name: tuple(tensors) for name, tensors in kept.items()}
        fields: dict[str, Any] = {name: found[name] for name in found.keys() & PLACES}
        fields["signals"] = {name: found[name] for name in found.keys() & ATTENTION}
        if "embedding" in needs:
            fields["embedding_VD"] = self.model.get_input_embeddings().weight
        if "vocab" in needs:
            fields |= {"head_VD": self._head_VD(), "final_norm": self.final_norm}
            fields["final_BTD"] = final_BTD
        return replace(self.outline, window=window, rope_theta=theta, **fields)

    @property
    def outline(self) -> Trace:
        """A Trace of no tokens: the sizes that losses must know before the first one."""
        return Trace(
            width=self.config.hidden_size,
            head_size=head_size(self.config),
            blocks=len(self.layers),
        )

    @property
    def signals(self) -> frozenset[str]:
        """Names of the signals that it gives to losses."""
        return ATTENTION

    def _apart(self, documents_BT: Tensor | None) -> dict[str, Any]:
        """Arguments of the model that keep documents apart; none for None."""
        if documents_BT is None:
            return {}
        return {
            "attention_mask": self._mask(documents_BT),
            "position_ids": document_positions(documents_BT),
        }

    def _mask(self, documents_BT: Tensor) -> Tensor | dict[str, Tensor]:
        """A mask for all layers, or by kind of layer where the model mixes them."""
        mask = partial(document_mask, documents_BT, dtype=self.model.dtype)
        reach: int | None = getattr(self.config, "sliding_window", None)
        kinds = getattr(self.config, "layer_types", None)
        if kinds is None:
            return mask(reach=reach)
        return {"full_attention": mask(), "sliding_attention": mask(reach=reach)}

    def _check_length(self, length: int) -> None:
        if self.positions is not None and length > self.positions.num_embeddings:
            raise TeacherError(
                f"a window of {length} tokens: teacher {self.name!r} has learned positions for "
                f"{self.positions.num_embeddings}, and can read no more than that at once"
            )

    def _head_VD(self) -> Tensor:
        weight_VD: Tensor = self.model.get_output_embeddings().weight
        return weight_VD if self.words == weight_VD.shape[0] else weight_VD[: self.words]

    @contextmanager
    def _capturing(self, kept: dict[str, list[Tensor]]) -> Iterator[None]:
        """Hooks that append to the lists in `kept` while the model runs."""
        handles = []
        if "hidden" in kept:
            handles.append(self.layers[0].register_forward_pre_hook(keep_input(kept["hidden"])))
        for index in range(len(self.layers)):
            for name, (module, keep) in self._sites(index).items():
                if name in kept:
                    handles.append(module.register_forward_hook(keep_output(kept[name], keep)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _sites(self, index: int) -> dict[str, tuple[nn.Module, Keep]]:
        """Modules of one block whose outputs a Trace keeps, and what is kept of them."""
        layer, attention, family = self.layers[index], self.attention(index), self.family
        sites: dict[str, tuple[nn.Module, Keep]] = {
            "hidden": (layer, first),
            "mixer_in": (getattr(layer, family.mixer_norm), first),
            "mixer_out": (attention, first),
            "mlp_out": (self.mlp(index), first),
        }
        for name, rows, norm in (
            ("queries", family.queries, family.query_norm),
            ("keys", family.keys, family.key_norm),
            ("values", family.values, ""),
        ):
            module = getattr(attention, norm or rows.module)
            sites[name] = (module, self._by_head(Rows(norm) if norm else rows))
        own, usual = cast(float, attention.scaling), head_size(self.config) ** -0.5
        if not math.isclose(own, usual):  # as GPT-2 may have it
            module, keep = sites["keys"]
            sites["keys"] = (module, lambda output: keep(output) * (own / usual))
        return sites

    def _by_head(self, rows: Rows) -> Keep:
        """From a projection's output to (B,T,H,N), key-value heads repeated."""
        size, heads = head_size(self.config), self.config.num_attention_heads

        def keep(output: Any) -> Tensor:
            part = output.chunk(rows.parts, dim=-1)[rows.part]
            x_BTHN: Tensor = part.reshape(*part.shape[:2], -1, size)
            return x_BTHN.repeat_interleave(heads // x_BTHN.shape[2], dim=2)

        return keep


def real_words(teacher: Teacher) -> int:
    """Rows of the teacher's head that its tokenizer can produce.

    Vocabularies are often padded to a round number of rows (Qwen2.5: 152,064 of which 151,665
    are words). All rows where there is no tokenizer.
    """
    rows = int(teacher.model.get_output_embeddings().weight.shape[0])
    if teacher.tokenizer is None:
        return rows
    return min(rows, 1 + max(teacher.tokenizer.get_vocab().values()))


def load_teacher(name_or_path: str, *, dtype: torch.dtype = torch.float32) -> Teacher:
    """A teacher by built-in name ("smollm2-135m"), local folder or Hub id.

    A folder may hold a `save_pretrained` layout or a single GGUF file, which is dequantised into
    the cache on first use. The family is checked before any weight is read. Raises TeacherError
    or sources.SourceError.
    """
    folder = teacher_folder(name_or_path)
    if gguf := gguf_option(folder):
        folder = dequantised(Path(folder) / gguf["gguf_file"], name=name_or_path)
    with readable(name_or_path, folder):
        config = AutoConfig.from_pretrained(folder)
    family_of(config, name=name_or_path)
    tokenizer = load_words(folder, name=name_or_path)
    model = load_weights(AutoModelForCausalLM, folder, name=name_or_path, dtype=dtype)
    return Teacher(model, tokenizer, name=name_or_path)


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
