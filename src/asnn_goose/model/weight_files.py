"""Weights from a folder into a model: all of them, whole, and of the right shape, or one error.

Transformers fills what a folder lacks with random numbers, and leaves out what it does not know;
the libraries below it raise whatever they like where a file is damaged.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from asnn_goose.model.families import TeacherError

POINTER = b"version https://git-lfs.github.com/spec/"
"""How a file begins whose content was not fetched with its repository."""

BUFFERS = re.compile(r"(rotary_emb\.inv_freq|attn\.(masked_)?bias)$")
"""Tensors of older files that every model makes itself."""

LAYERS = ("num_hidden_layers", "n_layer")
WIDTHS = ("hidden_size", "n_embd")
SIZES = (*LAYERS, *WIDTHS, "vocab_size", "intermediate_size", "n_inner")
"""Sizes of a configuration, as families call them, that decide how much room a model takes."""

MOST_WORDS = 1 << 24

PACKED = 16
"""Numbers that one stored number may stand for, at most."""

SHOWN = 3
"""Names of tensors in a message at most."""


def load_weights(kind: Any, folder: str | Path, *, name: str, **options: Any) -> PreTrainedModel:
    """`kind.from_pretrained(folder, **options)`, with every tensor checked.

    kind  a model or one of the Auto classes
    name  what the user calls the model

    Code in the folder is never run, and weights are read from safetensors or a GGUF alone: a
    pickle is code. Raises TeacherError where a file cannot be read, lies outside of the folder, or
    a tensor is missing, unknown, of another shape than the configuration says, holds numbers that
    are not finite or are no fractions, or contradicts the configuration about the head.
    """
    if "gguf_file" not in options:
        _check_files(Path(folder), name=name)
        with readable(name, folder):
            _check_room(Path(folder), name=name)
        options["use_safetensors"] = True
    _check_ends(Path(folder) / "generation_config.json", name=name)
    with readable(name, folder), _silent():
        model, found = kind.from_pretrained(
            folder,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            trust_remote_code=False,
            **options,
        )
    # After loading and not before: which names a class renames or ties on its way only it knows.
    _check_names(found, name=name)
    check_finite(model, name=name)
    _check_types(model, Path(folder), name=name)
    _check_tie(model, name=name)
    for table in (module for module in model.modules() if isinstance(module, nn.Embedding)):
        # A tokenizer with more words than rows shows only when such a word comes, which may be
        # hours later.
        words = getattr(model.config, "real_vocab_size", 0)  # the rest is padding without logits
        rows = words if words and table is model.get_input_embeddings() else table.num_embeddings
        table.register_forward_pre_hook(partial(_check_ids, name=name, rows=rows))
    loaded: PreTrainedModel = model
    return loaded


def load_words(folder: str | Path, *, name: str, **options: Any) -> PreTrainedTokenizerBase:
    """The tokenizer in a folder. Raises TeacherError where there is none that can be read."""
    with readable(name, folder), _silent():
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, **options
        )
    numbers = tokenizer.get_vocab().values()
    if not numbers:
        raise TeacherError(f"model {name!r}: the tokenizer in {folder} is missing, or has no words")
    if (highest := max(numbers)) >= MOST_WORDS:  # tables are as long as the highest number
        raise TeacherError(
            f"model {name!r}: the tokenizer in {folder} has a token {highest}: wanted less than"
            f" {MOST_WORDS}"
        )
    return tokenizer


def _check_ids(table: nn.Embedding, args: tuple[Tensor, ...], *, name: str, rows: int) -> None:
    """Refuse ids and positions that a table does not reach: torch would only say "index"."""
    highest = int(args[0].max()) if args and args[0].numel() else 0
    if highest >= rows:
        raise TeacherError(
            f"model {name!r}: token or position {highest}, and its table has only"
            f" {rows} rows: give a shorter text, or resize the embedding to the"
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
    # Angles of rotary positions stand in no file: they come of the configuration.
    for key, tensor in (model.state_dict() | dict(model.named_buffers())).items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise TeacherError(
                f"model {name!r}: {key} holds numbers that are not finite: the file is damaged, or"
                " its training has diverged"
            )


def _check_types(model: PreTrainedModel, folder: Path, *, name: str) -> None:
    """Raise TeacherError where whole numbers stand for fractions: codes that lack their scale."""
    if getattr(model, "hf_quantizer", None) is not None:
        return  # the configuration says what they mean
    whole = {key for key, tensor in model.state_dict().items() if not tensor.is_floating_point()}
    for file in _weight_files(folder):
        with safe_open(file, "pt") as stored:
            for key in stored.keys():  # noqa: SIM118  # it is no mapping
                kind = stored.get_slice(key).get_dtype()
                if "F" not in kind and key not in whole and not BUFFERS.search(key):
                    raise TeacherError(
                        f"model {name!r}: {key} is of type {kind} in {file}, and config.json has"
                        " no quantization_config that says what its numbers mean"
                    )


def _weight_files(folder: Path) -> list[Path]:
    """The files that the weights come from: one, or the shards that an index names."""
    index = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").is_file() or not index.is_file():
        return [file for file in (folder / "model.safetensors",) if file.is_file()]
    named: dict[str, str] = json.loads(index.read_text("utf-8"))["weight_map"]
    return [folder / file for file in sorted(set(named.values()))]


def _check_files(folder: Path, *, name: str) -> None:
    """Raise TeacherError where weights are a pickle, or an index names what lies elsewhere."""
    if not any(folder.glob("*.safetensors")) and (found := sorted(folder.glob("*.bin"))):
        raise TeacherError(
            f"model {name!r}: {found[0]} is a pickle, which can run code when it is read: convert"
            " it to model.safetensors, or take a model that has one"
        )
    with readable(name, folder):
        files = _weight_files(folder)
    for file in files:
        # By its name: links are how the Hub's own cache keeps files.
        if file.parent != folder:
            raise TeacherError(f"model {name!r}: its index names {file}, outside of {folder}")


def _check_room(folder: Path, *, name: str) -> None:
    """Raise TeacherError before room is made for far more than the files can fill."""
    shapes = []
    for file in _weight_files(folder):
        with safe_open(file, "pt") as stored:
            shapes += [stored.get_slice(key).get_shape() for key in stored.keys()]  # noqa: SIM118
    if not shapes:  # on the Hub, or to be missed by name
        return
    numbers = sum(map(math.prod, shapes))
    stated = json.loads((folder / "config.json").read_text("utf-8"))
    sizes = {key: stated[key] for key in SIZES if isinstance(stated.get(key), int)}
    width = max((sizes[key] for key in WIDTHS if key in sizes), default=1)
    for key, value in sizes.items():
        # Quantised weights are fewer numbers than the matrices that they stand for.
        most = len(shapes) if key in LAYERS else PACKED * numbers // max(width, 1)
        if value > most:
            raise TeacherError(
                f"model {name!r}: config.json says {key} = {value}, and the files hold"
                f" {len(shapes)} tensors of {numbers} numbers: they do not belong together"
            )


def _check_tie(model: PreTrainedModel, *, name: str) -> None:
    """Raise TeacherError where there is a head of its own that there should not be."""
    ends = model.get_input_embeddings(), model.get_output_embeddings()
    if not getattr(model.config, "tie_word_embeddings", False) or None in ends:
        return
    embedding_VD, head_VD = (cast(Tensor, end.weight) for end in ends)
    if embedding_VD is not head_VD and not torch.equal(embedding_VD, head_VD):
        raise TeacherError(
            f"model {name!r}: config.json ties the head to the embedding, and the files hold"
            " another head: set tie_word_embeddings = false where the head is right"
        )


def _check_ends(file: Path, *, name: str) -> None:
    """Raise TeacherError where the end tokens would be lost with a file that cannot be read."""
    try:
        found = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    except (ValueError, RecursionError) as error:
        raise TeacherError(f"model {name!r}: {file} is not readable as JSON: {error}") from error
    if not isinstance(found, dict):
        raise TeacherError(f"model {name!r}: {file} must be a JSON object")


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
