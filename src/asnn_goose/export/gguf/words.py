"""A byte-level BPE tokenizer in the fields in which llama.cpp wants it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from asnn_goose.export.forms import ExportError

NORMAL, CONTROL, OWN, UNUSED = 1, 3, 4, 5
"""llama.cpp's types of tokens."""

_QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_LLAMA3 = _QWEN2.replace(r"|\p{N}| ?", r"|\p{N}{1,3}| ?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What goes into the file.

    split     llama.cpp's name for how text is split before the merges
    adds_bos  whether a text begins with the token `bos`
    """

    tokens: list[str]
    types: list[int]
    merges: list[str]
    split: str
    adds_bos: bool
    ids: Mapping[str, int]


def read_words(folder: Path, *, rows: int, settings: Mapping[str, Any]) -> Words:
    """The tokenizer of a student's folder, padded to the rows of its embedding.

    Raises ExportError for a tokenizer that llama.cpp would read in another way.
    """
    file = folder / "tokenizer.json"
    found = json.loads(file.read_text(encoding="utf-8"))
    model = found["model"]
    if model.get("type") != "BPE" or model.get("byte_fallback") or found.get("normalizer"):
        raise ExportError(f"{file}: only byte-level BPE without a normaliser goes into a GGUF")
    if not model["merges"]:
        raise ExportError(f"{file}: llama.cpp wants a tokenizer with merges")
    by_id = {number: word for word, number in model["vocab"].items()}
    types = dict.fromkeys(by_id, NORMAL)
    for added in found.get("added_tokens", ()):
        by_id[added["id"]] = added["content"]
        types[added["id"]] = CONTROL if added["special"] else OWN
    if by_id and max(by_id) >= rows:
        raise ExportError(f"{file} has a token {max(by_id)}, and the embedding only {rows} rows")
    return Words(
        tokens=[by_id.get(number, f"[PAD{number}]") for number in range(rows)],
        types=[types.get(number, UNUSED) for number in range(rows)],
        merges=[pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]],
        split=_split(found.get("pre_tokenizer") or {}, file=file),
        adds_bos=_adds_bos(file, settings.get("bos_token_id")),
        ids=_ids(settings),
    )


def _split(found: Mapping[str, Any], *, file: Path) -> str:
    """llama.cpp's name of a pre-tokenizer, by what it does."""
    parts = found["pretokenizers"] if found.get("type") == "Sequence" else [found]
    does = [(part.get("type"), _detail(part)) for part in parts]
    known = {
        "gpt-2": [("ByteLevel", True)],
        "smollm": [("Digits", True), ("ByteLevel", True)],
        "qwen2": [("Split", _QWEN2), ("ByteLevel", False)],
        "llama-bpe": [("Split", _LLAMA3), ("ByteLevel", False)],
    }
    for name, doing in known.items():
        if does == doing:
            return name
    raise ExportError(
        f"{file}: llama.cpp is not known to split text as this tokenizer does; known are those of"
        f" {', '.join(known)}"
    )


def _detail(part: Mapping[str, Any]) -> object:
    """What of a pre-tokenizer decides where text is split."""
    if part.get("type") == "ByteLevel":
        return None if part.get("add_prefix_space") else part.get("use_regex", True)
    if part.get("type") == "Digits":
        return part.get("individual_digits")
    pattern = part.get("pattern", {}).get("Regex")
    return pattern if part.get("behavior") == "Isolated" and not part.get("invert") else None


def _adds_bos(file: Path, bos: object) -> bool:
    ids = Tokenizer.from_file(str(file)).encode("a").ids
    return bos is not None and len(ids) > 0 and ids[0] == bos


def _ids(settings: Mapping[str, Any]) -> dict[str, int]:
    """Special tokens by the names that gguf's writer has for them; of several ends the first."""
    found = {}
    for name in ("bos", "eos", "pad"):
        value = settings.get(f"{name}_token_id")
        value = value[0] if isinstance(value, list) else value
        if value is not None:
            found[name] = int(value)
    return found
