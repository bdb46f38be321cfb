"""What is wrong with a recipe, said so that its author can put it right."""

from __future__ import annotations

import difflib
from collections.abc import Collection


class RecipeError(ValueError):
    """A recipe cannot be carried out; the message gives the place, the value and what is right."""


def hint(found: str, valid: Collection[str]) -> str:
    """`did you mean 'tokens'?`, or all that is valid where nothing comes near."""
    near = difflib.get_close_matches(found, valid, n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else f"valid: {', '.join(sorted(valid))}"
