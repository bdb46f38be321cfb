"""Recipes: the only place where a name becomes an object.

In comes TOML; out go the objects of a run, or an error that names place, value and what is right.
Nothing is trained here, and no key is accepted that changes nothing.
"""

from asnn_goose.recipe.build import build_run
from asnn_goose.recipe.estimate import Estimate, StageEstimate, estimate
from asnn_goose.recipe.load import load_recipe
from asnn_goose.recipe.machines import OnMachines, on_machines, parse_machines
from asnn_goose.recipe.recipe_error import RecipeError
from asnn_goose.recipe.schema import Recipe

__all__ = [
    "Estimate",
    "OnMachines",
    "Recipe",
    "RecipeError",
    "StageEstimate",
    "build_run",
    "estimate",
    "load_recipe",
    "on_machines",
    "parse_machines",
]
