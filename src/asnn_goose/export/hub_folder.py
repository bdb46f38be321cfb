"""A student as a folder that others load: weights, words, code, card, and the packed file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from asnn_goose import disk
from asnn_goose.export.forms import ExportError
from asnn_goose.export.modelling_code import AUTO_MAP, CODE, ENTRY, write_modelling_code
from asnn_goose.export.packed import PackSettings, export_packed
from asnn_goose.format.packed import TOKENIZER_FILES
from asnn_goose.model import GooseForCausalLM

CARD, PACKED = "README.md", "packed"
MARK = f"{CODE}/{ENTRY}.py"
HOLDS = (CARD, PACKED, CODE, "config.json", "*.safetensors*", *TOKENIZER_FILES)

Card = Callable[[str], str]
"""(why there is no packed file, "" where there is one) -> the text of the card."""


def export_hub_folder(
    model: GooseForCausalLM,
    folder: Path,
    *,
    source: Path,
    card: Card,
    settings: PackSettings | None = None,
) -> str:
    """Write the folder, which appears whole or not at all; why nothing is packed in it, or "".

    model   the student that lies in the folder `source`, whose files are taken as they are
    Raises TakenError where `folder` holds anything but an older one of its kind.
    """
    with disk.replaced_folder(folder, kind="folder to share", marks=MARK, holds=HOLDS) as fresh:
        for file in sorted(source.glob("*.safetensors*")):
            shutil.copyfile(file, fresh / file.name)
        for name in TOKENIZER_FILES:
            if (source / name).is_file():
                shutil.copyfile(source / name, fresh / name)
        if not (fresh / "generation_config.json").exists() and model.generation_config is not None:
            model.generation_config.save_pretrained(fresh)
        _write_config(source / "config.json", fresh / "config.json")
        write_modelling_code(fresh / CODE)
        unpacked = _pack(model, fresh, settings)
        (fresh / CARD).write_text(card(unpacked), encoding="utf-8")
    return unpacked


def is_hub_folder(folder: Path) -> bool:
    """Whether a folder is one of these, sound or not."""
    return all((folder / name).is_file() for name in (CARD, "config.json", MARK))


def _write_config(source: Path, target: Path) -> None:
    """The student's configuration, which tells Transformers where its code is."""
    config = json.loads(source.read_text(encoding="utf-8"))
    text = json.dumps(config | {"auto_map": AUTO_MAP}, indent=2, sort_keys=True)
    target.write_text(text + "\n", encoding="utf-8")


def _pack(model: GooseForCausalLM, fresh: Path, settings: PackSettings | None) -> str:
    """Put the packed student beside the weights, made of this very folder; why not, or ""."""
    try:
        export_packed(model, fresh / PACKED, settings=settings, tokenizer=fresh)
    except ExportError as error:
        return str(error)
    return ""
