"""Students as starting points and as teachers: the rungs of a teacher-assistant chain.

Mirzadeh et al., AAAI 2020, arXiv 1902.03393: between a teacher and a student that is far from it
stand assistants, each of which teaches the next one.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from asnn_goose.model.goose.causal_lm import GooseForCausalLM
from asnn_goose.model.goose.config import GooseConfig
from asnn_goose.model.teacher import TeacherError
from asnn_goose.model.weight_files import load_weights, load_words
from asnn_goose.places import is_student, student_place
from asnn_goose.trace import Trace, Window


class Assistant:
    """A frozen student that teaches; it has of a Teacher what stages need."""

    def __init__(
        self, model: GooseForCausalLM, tokenizer: PreTrainedTokenizerBase | None, *, name: str
    ) -> None:
        # Out of training, so that its neurons measure nothing and its anneals are over: it must
        # teach what would be exported.
        self.model: GooseForCausalLM = model.train(False).requires_grad_(False)
        self.tokenizer = tokenizer
        self.name = name

    @property
    def layers(self) -> torch.nn.ModuleList:
        """The blocks, first to last."""
        return cast(torch.nn.ModuleList, self.model.blocks)

    @property
    def embedding_VD(self) -> Tensor:
        """The embedding."""
        return self.model.embedding.weight

    @property
    def student_head_VD(self) -> Tensor:
        """The head."""
        weight_VD: Tensor = self.model.lm_head.weight
        return weight_VD

    @property
    def outline(self) -> Trace:
        """A Trace of no tokens: the sizes that losses must know before the first one."""
        return self.model.outline

    @property
    def signals(self) -> frozenset[str]:
        """Names of the signals that it gives to losses."""
        return self.model.signals

    @torch.no_grad()
    def trace(
        self, tokens_BT: Tensor, needs: frozenset[str], *, window: Window | None = None
    ) -> Trace:
        """Run on tokens (B,T) and keep what `needs` names, as the student's own `trace` does."""
        return self.model.trace(tokens_BT, needs, window=window)


def load_student(name_or_path: str, *, dtype: torch.dtype = torch.float32) -> GooseForCausalLM:
    """The student of a run, or in a folder. Raises TeacherError where there is none."""
    folder = student_place(name_or_path)
    if not is_student(name_or_path):
        raise TeacherError(
            f"{name_or_path} is no student: give a finished run or its model/ folder"
        )
    return cast(
        GooseForCausalLM, load_weights(GooseForCausalLM, folder, name=name_or_path, dtype=dtype)
    )


def load_assistant(name_or_path: str, *, dtype: torch.dtype = torch.float32) -> Assistant:
    """A student as a teacher. Raises TeacherError where there is none."""
    model = load_student(name_or_path, dtype=dtype)
    tokenizer = load_words(student_place(name_or_path), name=name_or_path)
    return Assistant(model, tokenizer, name=name_or_path)


def outline_assistant(name_or_path: str) -> Assistant:
    """A student as a teacher without memory and tokenizer: it has only shapes."""
    config = GooseConfig.from_pretrained(student_place(name_or_path))
    with torch.device("meta"):
        return Assistant(GooseForCausalLM(config), None, name=name_or_path)


@torch.no_grad()
def continued(start: GooseForCausalLM, **overrides: Any) -> GooseForCausalLM:
    """`start` itself, with `overrides` of its configuration: only `precision` may change.

    Raises ValueError for a field that would need other weights.
    """
    precision = overrides.pop("precision", None)
    for setting, value in overrides.items():
        found = getattr(start.config, setting)
        if value != found:
            raise ValueError(
                f"{setting} = {value!r}: the student to start from has {found!r}; "
                "only precision can change"
            )
    if precision is not None:
        start.set_precision(precision)
    return start
