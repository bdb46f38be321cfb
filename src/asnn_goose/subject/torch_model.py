"""A run's student, a student's folder or a teacher in PyTorch: to score, or to draw from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers.utils import logging

from asnn_goose.format.packed import is_packed
from asnn_goose.infer.draw import draw
from asnn_goose.infer.sampler import Drawer, Sampling
from asnn_goose.infer.text import Vocabulary, vocabulary_of
from asnn_goose.model import load_teacher
from asnn_goose.model.assistant import load_student
from asnn_goose.model.goose.cache import CACHE_FIELD
from asnn_goose.model.teacher import gguf_option
from asnn_goose.model.weight_files import load_words
from asnn_goose.places import SubjectError, student_folder
from asnn_goose.sources import teacher_folder

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from asnn_goose.eval.perplexity import TraceFn

PREFILL = 256
"""Prompt tokens per forward pass, so that a long prompt needs no more memory than a short one."""


@dataclass(frozen=True, kw_only=True)
class TorchModel:
    """A loaded model with its tokenizer; `trace` is what perplexity is computed from."""

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    trace: TraceFn

    @property
    def vocabulary(self) -> Vocabulary:
        """The tokenizer, free of Transformers."""
        tables = (self.model.config, self.model.generation_config)
        return vocabulary_of(
            # The same core that the engine's side reads, so that both cut a text alike.
            self.tokenizer.backend_tokenizer,
            named={"eos_token": self.tokenizer.eos_token, "bos_token": self.tokenizer.bos_token},
            settings=[table.to_dict() for table in tables if table is not None],
            where=self.name,
        )

    def draw(
        self, ids: Sequence[int], *, tokens: int, sampling: Sampling, seed: int | None
    ) -> Iterator[int]:
        """Up to `tokens` tokens that continue `ids`, which are at least one."""
        return draw(CacheReader(self.model), ids, drawer=Drawer(sampling, seed=seed), limit=tokens)


class CacheReader:
    """Reads tokens into a model's cache, beside which nothing grows; logits (V,) after them.

    `model` is called as Transformers models are.
    """

    def __init__(self, model: Any) -> None:
        self._model, self._cache = model, None

    def __call__(self, ids: Sequence[int]) -> NDArray[np.float32]:
        for part_t in torch.split(torch.tensor(ids), PREFILL):
            logits_V, self._cache = _step(self._model, part_t, self._cache)
        return np.asarray(logits_V)


@torch.no_grad()
def _step(model: Any, ids_t: Tensor, cache: Any) -> tuple[Tensor, Any]:
    # Logits of the last token alone: those of a whole prompt would be its length times the
    # vocabulary.
    options = {CACHE_FIELD: cache, "use_cache": True, "logits_to_keep": 1}
    output = model(input_ids=ids_t[None], **options)
    return output.logits[0, -1].float(), getattr(output, CACHE_FIELD)


def hush() -> None:
    """Keep bars and warnings of Transformers out of our output."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()


def load_tokenizer(name_or_path: str) -> PreTrainedTokenizerBase:
    """The tokenizer of anything that `load_torch` loads, without its weights."""
    hush()
    folder = student_folder(name_or_path) or teacher_folder(name_or_path)
    return load_words(folder, name=name_or_path, **gguf_option(folder))


def load_torch(name_or_path: str) -> TorchModel:
    """Load a run's student, a student's folder, a built-in teacher, a folder or a Hub id.

    Raises SubjectError, or what `load_teacher` raises.
    """
    hush()
    folder = student_folder(name_or_path)
    if folder is None:
        teacher = load_teacher(name_or_path)
        if teacher.tokenizer is None:
            raise SubjectError(f"{name_or_path} comes without a tokenizer")
        return TorchModel(
            name=name_or_path, model=teacher.model, tokenizer=teacher.tokenizer, trace=teacher.trace
        )
    if is_packed(folder):
        raise SubjectError(
            f"{name_or_path} is packed, which only the engine runs: give the student that it was"
            " made from"
        )
    student = load_student(name_or_path)
    student.train(False)
    tokenizer = load_words(folder, name=name_or_path)
    return TorchModel(name=name_or_path, model=student, tokenizer=tokenizer, trace=student.trace)
