"""What is wrong with a recipe, said so that its author can put it right."""

from __future__ import annotations


class RecipeError(ValueError):
    """A recipe cannot be carried out; the message gives the place, the value and what is right."""
