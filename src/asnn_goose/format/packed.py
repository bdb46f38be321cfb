"""A packed student: a folder with packed.safetensors, config.json and the tokenizer's files."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asnn_goose import disk
from asnn_goose.format.checks import check_tensors
from asnn_goose.format.groups import numbers
from asnn_goose.format.json_file import parse_object, read_object
from asnn_goose.format.mapped import Mapped, in_order, open_mapped, write_mapped
from asnn_goose.format.origin import ORIGIN
from asnn_goose.format.planes import has_sides, unpack_scaled
from asnn_goose.shape.packed_error import PackedError as PackedError
from asnn_goose.shape.packed_error import wrong
from asnn_goose.shape.settings import checked_settings, needs_3
from asnn_goose.shape.student import layout

WEIGHTS, CONFIG = "packed.safetensors", "config.json"
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "generation_config.json",
)
"""Files that may lie beside the two."""

FORMAT, VERSION, NEWER, SIDED, GROUPED = "asnn_goose_packed", "2", "3", "4", "5"
READABLE = ("1", VERSION, NEWER, SIDED, GROUPED)
"""Versions that can be read; in 1 were no amplitudes, no sites, no bias without its setting. A file
is of version 3 where a setting says so that readers of 2 would pass over (`NEW_IN_3`), of 4 where a
plane has a scale for its +1 and one for its -1, and of 5 where dense weights have groups."""


@dataclass(frozen=True, kw_only=True)
class PackedModel:
    """A packed student that was found sound.

    folder    where it lies
    config    the settings that decide what it computes, and its special tokens
    tensors   read-only arrays that share the file's memory
    matrices  matrix or site -> {"steps", "code", "rotate"} where what comes in is coded or rotated
    crc32     checksum of all tensors, 8 hex digits
    """

    folder: Path
    config: dict[str, Any]
    tensors: dict[str, NDArray[Any]]
    matrices: dict[str, dict[str, Any]]
    crc32: str

    def dense(self, name: str) -> NDArray[np.float32]:
        """The matrix `name` as fp32 numbers (rows, columns), in its own basis."""
        scale = self.tensors.get(f"{name}.scale")
        if (words := self.tensors.get(f"{name}.planes")) is None:
            stored = self.tensors[f"{name}.weight"]
            if (groups := self.tensors.get(f"{name}.groups")) is not None:
                return numbers(stored, self.tensors[f"{name}.scale"], groups)
            weight = stored.astype(np.float32)
            return weight if scale is None else weight * scale[:, None]
        assert scale is not None  # read_packed has checked
        codes_PMK = unpack_scaled(words, scale)
        planes, rows, columns = codes_PMK.shape
        by_group = codes_PMK.reshape(planes, rows, scale.shape[1], -1)
        terms = by_group * scale.swapaxes(1, 2)[..., None]
        total: NDArray[np.float32] = terms.sum(0, dtype=np.float32).reshape(rows, columns)
        return total


def is_packed(folder: Path) -> bool:
    """True where the two files of a packed model lie, sound or not."""
    return (folder / WEIGHTS).is_file() and (folder / CONFIG).is_file()


def read_packed(folder: Path) -> PackedModel:
    """Open a packed student without copying its weights, and check every part of it.

    Raises PackedError, which names file, tensor, what was found and what would be right, for
    whatever is missing, damaged, foreign or of another version.
    """
    # The settings first: they say which tensors there must be.
    config = checked_settings(read_object(folder / CONFIG), file=folder / CONFIG)
    mapped = open_mapped(folder / WEIGHTS)
    matrices = _check_metadata(mapped)
    check_tensors(mapped.file, mapped.tensors, matrices, layout(config))
    return PackedModel(
        folder=folder,
        config=config,
        tensors=mapped.tensors,
        matrices=matrices,
        crc32=mapped.metadata["crc32"],
    )


def _check_metadata(mapped: Mapped) -> dict[str, dict[str, Any]]:
    """The table of matrices, after format, version and checksum were found right."""
    file, said = mapped.file, mapped.metadata
    for key, right in (("format", (FORMAT,)), ("version", READABLE)):
        if said.get(key) not in right:
            raise wrong(file, f"metadata {key!r}", said.get(key), " or ".join(map(repr, right)))
    # Before any tensor is believed: damage is then told as damage, not as an odd shape.
    found = checksum(mapped.data)
    if said.get("crc32") != found:
        raise wrong(file, "metadata 'crc32'", said.get("crc32"), f"{found!r}: damaged data")
    if "matrices" not in said:
        raise wrong(file, "metadata 'matrices'", None, "a JSON object")
    return parse_object(said["matrices"], file=file, what="metadata 'matrices'")


def checksum(data: NDArray[np.uint8]) -> str:
    """CRC-32 of a data section as 8 hex digits."""
    return f"{zlib.crc32(data.data):08x}"


def write_packed(
    folder: Path,
    config: Mapping[str, Any],
    tensors: Mapping[str, NDArray[Any]],
    matrices: Mapping[str, Mapping[str, Any]],
) -> None:
    """Write the two files of a packed model into an existing folder (see `packed_folder`).

    Raises PackedError where the tensors are not those that `config` asks for.
    """
    file, coded = folder / WEIGHTS, {name: dict(entry) for name, entry in matrices.items()}
    settings = checked_settings(dict(config), file=folder / CONFIG)
    check_tensors(file, tensors, coded, layout(settings))
    crc = 0
    for name in in_order(tensors):
        crc = zlib.crc32(np.ascontiguousarray(tensors[name]).data, crc)
    metadata = {
        "format": FORMAT,
        "version": _version(settings, tensors),
        "crc32": f"{crc:08x}",
        "matrices": json.dumps(coded, separators=(",", ":")),
    }
    write_mapped(file, tensors, metadata)
    text = json.dumps(dict(config), indent=2, sort_keys=True)
    (folder / CONFIG).write_text(text + "\n", encoding="utf-8")


def _version(settings: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> str:
    """The oldest whose readers know all that is in a file."""
    if any(name.endswith(".groups") for name in tensors):
        return GROUPED
    for name, words in tensors.items():
        matrix = name.removesuffix(".planes")
        if matrix != name and has_sides(words, tensors[f"{matrix}.scale"]):
            return SIDED
    return NEWER if needs_3(settings) else VERSION


@contextmanager
def packed_folder(target: Path) -> Iterator[Path]:
    """A folder to fill, which takes the name `target` once the block has ended well.

    A packed model that lies there is replaced; an error leaves it as it was. Raises TakenError
    where `target` is anything else but an empty folder, or holds files of somebody else too.
    """
    holds = (CONFIG, ORIGIN, *TOKENIZER_FILES)
    with disk.replaced_folder(target, kind="packed model", marks=WEIGHTS, holds=holds) as fresh:
        yield fresh
