"""Weights from a folder into a model: all of them, whole, and of the right shape, or one error.

Transformers fills what a folder lacks with random numbers, and leaves out what it does not know;
the libraries below it raise whatever they like where a file is damaged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from asnn_goose.model.families import TeacherError

POINTER = b"version https://git-lfs.github.com/spec/"
"""How a file begins whose content was not fetched with its repository."""

BUFFERS = re.compile(r"(rotary_emb\.inv_freq|attn\.(masked_)?bias)$")
"""Tensors of older files that every model makes itself."""

SHOWN = 3
"""Names of tensors in a message at most."""


def load_weights(kind: Any, folder: str | Path, *, name: str, **options: Any) -> PreTrainedModel:
    """`kind.from_pretrained(folder, **options)`, with every tensor checked.

    kind  a model or one of the Auto classes
    name  what the user calls the model

    Raises TeacherError where a file cannot be read, or a tensor is missing, unknown, of another
    shape than the configuration says, or holds numbers that are not finite.
    """
    with readable(name, folder), _silent():
        model, found = kind.from_pretrained(
            folder, output_loading_info=True, ignore_mismatched_sizes=True, **options
        )
    # After loading and not before: which names a class renames or ties on its way only it knows.
    _check_names(found, name=name)
    check_finite(model, name=name)
    for table in (module for module in model.modules() if isinstance(module, nn.Embedding)):
        # A tokenizer with more words than rows shows only when such a word comes, which may be
        # hours later.
        table.register_forward_pre_hook(partial(_check_ids, name=name))
    loaded: PreTrainedModel = model
    return loaded


def load_words(folder: str | Path, *, name: str, **options: Any) -> PreTrainedTokenizerBase:
    """The tokenizer in a folder. Raises TeacherError where there is none that can be read."""
    with readable(name, folder), _silent():
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, **options)
    if not tokenizer.get_vocab():
        raise TeacherError(f"model {name!r}: the tokenizer in {folder} is missing, or has no words")
    return tokenizer


def _check_ids(table: nn.Embedding, args: tuple[Tensor, ...], *, name: str) -> None:
    """Refuse ids and positions that a table does not reach: torch would only say "index"."""
    highest = int(args[0].max()) if args and args[0].numel() else 0
    if highest >= table.num_embeddings:
        raise TeacherError(
            f"model {name!r}: token or position {highest}, and its table has only"
            f" {table.num_embeddings} rows: give a shorter text, or resize the embedding to the"
            " tokenizer's words"
        )


@contextmanager
def readable(name: str, folder: str | Path) -> Iterator[None]:
    """Turn whatever a library raises while it reads a model's files into a TeacherError."""
    try:
        yield
    except TeacherError:
        raise
    except Exception as error:  # the libraries below raise nothing narrower
        raise TeacherError(f"model {name!r} cannot be loaded: {_cause(error, folder)}") from error


def _cause(error: Exception, folder: str | Path) -> str:
    """The error's words, and the file that it may be about."""
    said = str(error).strip() or type(error).__name__
    place = Path(folder)
    for file in sorted(place.iterdir()) if place.is_dir() else []:
        if file.suffix in {".safetensors", ".bin", ".gguf", ".json"} and file.is_file():
            with file.open("rb") as stream:
                start = stream.read(len(POINTER))
            # The usual reason by far: a repository that was cloned without its large files.
            if start == POINTER:
                return f"{file} is a Git LFS pointer, not the file: fetch it with git lfs pull"
            if not start:
                return f"{file} is empty: copy it again"
    return f"{said} (in {folder})"


def _check_names(found: dict[str, Any], *, name: str) -> None:
    """Raise TeacherError for tensors that the files lack, have in addition or in other shapes."""
    for key, what in (
        ("missing_keys", "the files lack"),
        ("unexpected_keys", "the configuration knows no"),
    ):
        names = [each for each in found[key] if not BUFFERS.search(each)]
        if names:
            raise TeacherError(
                f"model {name!r}: {what} {listed(names)}: files and config.json do not belong"
                " together, or a part of the model is missing"
            )
    if shapes := sorted(found["mismatched_keys"]):
        tensor, stored, wanted = shapes[0]
        raise TeacherError(
            f"model {name!r}: {tensor} has the shape {tuple(stored)} in the files, and"
            f" config.json wants {tuple(wanted)}"
        )
    if found["error_msgs"]:
        raise TeacherError(f"model {name!r} cannot be loaded: {found['error_msgs'][0]}")


def check_finite(model: PreTrainedModel, *, name: str) -> None:
    """Raise TeacherError where a tensor holds numbers that are not finite."""
    for key, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise TeacherError(
                f"model {name!r}: {key} holds numbers that are not finite: the file is damaged, or"
                " its training has diverged"
            )


def listed(names: Iterable[str]) -> str:
    """The first few names in order, and how many there are."""
    found = sorted(names)
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return ", ".join(found[:SHOWN]) + more


@contextmanager
def _silent() -> Iterator[None]:
    """No report of Transformers' own: what is wrong is said once, by us."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)
