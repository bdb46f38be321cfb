"""A teacher that is itself trained: a transformer of a known family, driven like a student."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from asnn_goose.model.families import family_of
from asnn_goose.model.parts.documents import arguments_apart
from asnn_goose.model.rotations import check_apart
from asnn_goose.model.scales import scales
from asnn_goose.trace import Trace, Window

NEEDS = frozenset({"vocab"})
_EMBEDDINGS = frozenset(
    {"embed_tokens", "lm_head", "wte", "wpe", "embed_in", "embed_out", "word_embeddings"}
)


class TrainableTeacher(nn.Module):
    """A transformer whose every weight can be trained on text, and which saves as a teacher.

    words     rows of the head that count (`model.teacher.real_words`); None for all of them
    saved_as  number format in which `save_pretrained` writes the weights

    It drops out what the model's own configuration says, which is nothing in most families.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        words: int | None = None,
        saved_as: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.model = model.requires_grad_(True)
        self.words, self.saved_as = words, saved_as
        self.scales = scales(
            model.config,
            family_of(model.config, name=model.config.model_type),
            embedding=model.get_input_embeddings(),
            head=model.get_output_embeddings(),
        )

    def trace(
        self, tokens_BT: Tensor, needs: frozenset[str], *, window: Window | None = None
    ) -> Trace:
        """Run on tokens (B,T) and keep what the head multiplies; gradients flow.

        Raises ValueError for other needs: load it with `load_teacher` to look inside.
        """
        if not needs <= NEEDS:
            raise ValueError(f"needs {sorted(needs - NEEDS)}: training it gives only vocab")
        decoder: Any = self.model.base_model
        # Without the head: the objective multiplies it in chunks, as for a student.
        documents_BT = None if window is None else window.documents_BT
        config = self.model.config
        if documents_BT is not None:
            check_apart(config, documents_BT.shape[1], name=str(config.name_or_path))
        apart = arguments_apart(documents_BT, config, dtype=self.model.dtype)
        final_BTD = decoder(input_ids=tokens_BT, use_cache=False, **apart).last_hidden_state
        return Trace(
            final_BTD=final_BTD * self.scales.logits,
            head_VD=self._head_VD(),
            logit_cap=self.scales.cap,
        )

    def _head_VD(self) -> Tensor:
        weight_VD: Tensor = self.model.get_output_embeddings().weight
        whole = self.words in (None, weight_VD.shape[0])
        return weight_VD if whole else weight_VD[: self.words]

    def save_pretrained(self, save_directory: Path) -> None:
        """Write the model in the format `saved_as`, as `load_teacher` reads it."""
        model: Any = self.model
        if model.dtype != self.saved_as:
            # A copy: training may go on in full precision after its model was written.
            model = copy.deepcopy(model).to(self.saved_as)
        model.save_pretrained(save_directory)


def optimiser_groups(model: TrainableTeacher) -> dict[str, str]:
    """Group of every parameter by name: "embedding", "norm", "matrix" or, of biases, "vector"."""
    return {name: _group(name, parameter) for name, parameter in model.named_parameters()}


def _group(name: str, parameter: Tensor) -> str:
    # By the parts of a name: families call their tables differently, and these are all that there
    # are.
    if not _EMBEDDINGS.isdisjoint(name.split(".")):
        return "embedding"
    if "norm" in name or "ln_" in name:
        return "norm"
    return "matrix" if parameter.ndim > 1 else "vector"
