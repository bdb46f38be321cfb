"""Which texts a run has read, by content: noted in its folder, for whoever scores it later."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from asnn_goose.recipe.load import load_recipe
from asnn_goose.recipe.recipe_error import RecipeError
from asnn_goose.train.folder import TEXTS

NOTED = "text of data.train."
"""How settings of a run begin that tell of its texts (recipe.identity)."""


def trained_hashes(name_or_path: str) -> frozenset[str]:
    """SHA-256 of the files that a run's student was trained on, and the runs it started from.

    Empty for what is no run. A run's model/ folder stands for the run. Raises RecipeError for a
    note that cannot be read: the texts would be scored whole.
    """
    return frozenset(_hashes(Path(name_or_path).expanduser(), set()))


def _hashes(folder: Path, seen: set[Path]) -> Iterator[str]:
    folder = folder.resolve()
    if not (folder / "recipe.toml").is_file() and folder.name == "model":
        folder = folder.parent
    # Runs may start from each other's students in a ring; each is read once.
    if folder in seen or not (folder / "recipe.toml").is_file():
        return
    seen.add(folder)
    yield from _noted(folder / TEXTS)
    try:
        start = load_recipe(folder / "recipe.toml").student.start
    except (RecipeError, OSError):  # of a teacher, or of another version
        return
    if start is not None:
        yield from _hashes(Path(start).expanduser(), seen)


def _noted(file: Path) -> list[str]:
    if not file.is_file():
        return []  # a run of an older version
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        texts = [json.loads(text) for key, text in found.items() if key.startswith(NOTED)]
        return [str(text.get("version", "")).partition("/")[0] for text in texts]
    except (ValueError, TypeError, AttributeError) as error:
        raise RecipeError(
            f"{file} is damaged, and with it what is known of the texts that the run has read: "
            "remove it, and take care yourself that no text is scored that was trained on"
        ) from error
