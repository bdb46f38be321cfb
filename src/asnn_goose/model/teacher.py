"""Teachers: pretrained causal language models whose inside a student can look at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from asnn_goose.model.block_sites import block_sites, by_head
from asnn_goose.model.capture import Keep, keep_input, keep_output
from asnn_goose.model.families import (
    FAMILIES,
    Family,
    TeacherError,
    family_of,
    head_size,
    heads_of,
)
from asnn_goose.model.gguf_file import dequantised
from asnn_goose.model.parts.documents import arguments_apart
from asnn_goose.model.rotations import check_apart, check_turned, rotations
from asnn_goose.model.rows import Heads
from asnn_goose.model.scales import Scales, scales
from asnn_goose.model.teacher_config import load_config
from asnn_goose.model.weight_files import load_weights, load_words, readable
from asnn_goose.sources import teacher_folder
from asnn_goose.trace import ATTENTION, HEAD_OUTPUTS, NEEDS, PLACES, Trace, Window

__all__ = [
    "FAMILIES",
    "Family",
    "Teacher",
    "TeacherError",
    "family_of",
    "gguf_option",
    "head_size",
    "load_teacher",
    "outline_teacher",
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
        self.scales: Scales = scales(
            model.config,
            self.family,
            embedding=model.get_input_embeddings(),
            head=model.get_output_embeddings(),
        )

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

    @property
    def heads(self) -> Heads:
        """Its heads of queries, of keys and values, and their size."""
        return heads_of(self.config, self.family)

    @property
    def embedding_VD(self) -> Tensor:
        """The embedding as a student keeps it, with the teacher's factor in it."""
        weight_VD: Tensor = self.model.get_input_embeddings().weight
        return weight_VD if self.scales.embedding == 1 else weight_VD * self.scales.embedding

    @property
    def student_head_VD(self) -> Tensor:
        """The head as a student keeps it: the same as its embedding where the teacher's are one."""
        weight_VD: Tensor = self.model.get_output_embeddings().weight
        return weight_VD if self.scales.head == 1 else weight_VD * self.scales.head

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
        after their norms, if any, and before rotary positions, which the Trace names. What
        attention and MLP give is taken before norms of it, with the factor by which it is added.
        The head is multiplied only when the Trace is asked for logits, and has `words` rows. With
        documents in the `window` no token sees another one, and positions start again with every
        one. Raises TeacherError for more tokens than there are learned positions, and for queries
        or keys of a teacher whose rotations have more than a base.
        """
        return self.trace_graph(tokens_BT, needs, window=window)

    def trace_graph(
        self, tokens_BT: Tensor, needs: frozenset[str], *, window: Window | None = None
    ) -> Trace:
        """The same with a graph, for whoever has put something that learns inside (`grafted`)."""
        if not needs <= NEEDS:
            raise ValueError(f"needs {sorted(needs - NEEDS)}: choose among {sorted(NEEDS)}")
        window = window or Window()
        self._check_length(tokens_BT.shape[1], apart=window.documents_BT is not None)
        # Asked only where someone compares queries or keys: logits of a teacher with scaled
        # rotations are right as they are.
        turned = bool(needs & {"queries", "keys"}) and self.positions is None
        found_turns = rotations(self.model, name=self.name) if turned else ()
        kept: dict[str, list[Tensor]] = {name: [] for name in needs - {"vocab", "embedding"}}
        with self._capturing(kept):
            final_BTD = self.base(
                input_ids=tokens_BT,
                use_cache=False,
                **arguments_apart(window.documents_BT, self.config, dtype=self.model.dtype),
            ).last_hidden_state
        found = {name: tuple(tensors) for name, tensors in kept.items()}
        fields: dict[str, Any] = {name: found[name] for name in found.keys() & PLACES}
        fields["signals"] = {name: found[name] for name in found.keys() - PLACES}
        if "embedding" in needs:
            fields["embedding_VD"] = self.model.get_input_embeddings().weight
        if "vocab" in needs:
            fields |= {"head_VD": self._head_VD(), "final_norm": self._scaled_norm}
            fields |= {"final_BTD": final_BTD * self.scales.logits, "logit_cap": self.scales.cap}
        return replace(self.outline, window=window, rotations=found_turns, **fields)

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
        return ATTENTION | {HEAD_OUTPUTS}

    def _scaled_norm(self, x: Tensor) -> Tensor:
        normed: Tensor = self.final_norm(x)
        return normed * self.scales.logits

    def _check_length(self, length: int, *, apart: bool) -> None:
        if apart:
            check_apart(self.config, length, name=self.name)
        if self.positions is not None and length > self.positions.num_embeddings:
            raise TeacherError(
                f"a window of {length} tokens: teacher {self.name!r} has learned positions for "
                f"{self.positions.num_embeddings}, and can read no more than that at once"
            )

    def _head_VD(self) -> Tensor:
        weight_VD: Tensor = self.model.get_output_embeddings().weight
        return weight_VD if self.words == weight_VD.shape[0] else weight_VD[: self.words]

    def _sites(self, index: int) -> dict[str, tuple[nn.Module, Keep]]:
        return block_sites(
            self.layers[index], self.family, self.heads, residual=self.scales.residual
        )

    @contextmanager
    def _capturing(self, kept: dict[str, list[Tensor]]) -> Iterator[None]:
        """Hooks that append to the lists in `kept` while the model runs."""
        handles = []
        # The embedding comes from the input of the first block: families differ in what they do
        # between the table and the blocks.
        if "hidden" in kept:
            handles.append(self.layers[0].register_forward_pre_hook(keep_input(kept["hidden"])))
        if "mixer_in" in kept and not self.family.mixer_norm:
            hook = keep_input(kept["mixer_in"])
            handles += [layer.register_forward_pre_hook(hook) for layer in self.layers]
        if HEAD_OUTPUTS in kept:
            hook = keep_input(kept[HEAD_OUTPUTS], partial(by_head, size=self.heads.size))
            for index in range(len(self.layers)):
                output = getattr(self.attention(index), self.family.output.module)
                handles.append(output.register_forward_pre_hook(hook))
        for index in range(len(self.layers)):
            for name, (module, keep) in self._sites(index).items():
                if name in kept:
                    handles.append(module.register_forward_hook(keep_output(kept[name], keep)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def real_words(teacher: Teacher) -> int:
    """Rows of the teacher's head that its tokenizer can produce.

    Vocabularies are often padded to a round number of rows (Qwen2.5: 152,064 of which 151,665
    are words). All rows where there is no tokenizer.
    """
    rows = int(teacher.model.get_output_embeddings().weight.shape[0])
    if teacher.tokenizer is None:
        return rows
    # Rows behind the last word were never trained; distilling them would teach noise, and drawing
    # them would be an error.
    return min(rows, 1 + max(teacher.tokenizer.get_vocab().values()))


def load_teacher(name_or_path: str, *, dtype: torch.dtype = torch.float32) -> Teacher:
    """A teacher by built-in name ("smollm2-135m"), local folder or Hub id.

    A folder may hold a `save_pretrained` layout or a single GGUF file, which is dequantised into
    the cache on first use. The family is checked before any weight is read. Raises TeacherError
    or sources.SourceError.
    """
    folder, _ = _configured(name_or_path)
    tokenizer = load_words(folder, name=name_or_path)
    model = load_weights(AutoModelForCausalLM, folder, name=name_or_path, dtype=dtype)
    check_turned(model, name=name_or_path)
    return Teacher(model, tokenizer, name=name_or_path)


def outline_teacher(name_or_path: str, *, dtype: torch.dtype = torch.float32) -> Teacher:
    """A teacher without memory and tokenizer, from its configuration alone: it has only shapes.

    Raises what `load_teacher` raises.
    """
    folder, config = _configured(name_or_path)
    with readable(name_or_path, folder), torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype, trust_remote_code=False)
    return Teacher(model, None, name=name_or_path)


def _configured(name_or_path: str) -> tuple[str | Path, PreTrainedConfig]:
    """Where a teacher is, and its configuration, which names a family that is known."""
    folder = teacher_folder(name_or_path)
    if gguf := gguf_option(folder):
        folder = dequantised(Path(folder) / gguf["gguf_file"], name=name_or_path)
    return folder, load_config(folder, name=name_or_path)


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
