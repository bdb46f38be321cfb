"""A grid: one recipe, named changes to it, seeds; every cell is one change and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from asnn_goose.names import hint
from asnn_goose.recipe import Recipe, RecipeError, load_recipe
from asnn_goose.recipe.counts import Count, CountOrAll
from asnn_goose.recipe.table import Table, check_table, read_toml

Name = Annotated[str, Field(pattern=r"^[\w.-]+$")]
OWN = frozenset({"name", "seed"})
"""Settings of a recipe that belong to the grid and that no cell may change."""


class GridError(ValueError):
    """A grid cannot be carried out; the message gives the cell, the value and what is right."""


class ScoringTable(Table):
    """[eval]: what every student is scored on, as `asnn-goose eval` names it.

    The first text decides the order of tables and plots.
    """

    on: tuple[str, ...] = Field(default=("validation", "out-of-domain"), min_length=1)
    tokens: CountOrAll = 16_000
    window: Count = 256


class CellTable(Table):
    """[[cell]]: a name and its changes, overrides of a recipe; none for the control."""

    name: Name
    changes: tuple[str, ...] = Field(default=(), alias="set")
    equal_tokens: bool = True


class GridTable(Table):
    """A grid file. `base` is a recipe, found from the folder of the grid."""

    name: Name
    base: str
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(min_length=1)
    keep_models: bool = False
    eval: ScoringTable = ScoringTable()
    cell: tuple[CellTable, ...] = Field(min_length=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One recipe of a grid, before it gets a seed."""

    name: str
    changes: tuple[str, ...]
    recipe: Recipe

    @property
    def tokens(self) -> int:
        """Token budget over all stages."""
        return sum(stage.tokens for stage in self.recipe.stage)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One cell with one seed."""

    cell: str
    seed: int
    recipe: Recipe

    @property
    def name(self) -> str:
        """Name of the run's folder."""
        return self.recipe.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A checked grid; `control` is the cell without changes."""

    name: str
    control: Cell
    cells: tuple[Cell, ...]
    seeds: tuple[int, ...]
    scoring: ScoringTable
    keep_models: bool

    def runs(self, *, cells: Sequence[str] = (), seeds: Sequence[int] = ()) -> Iterator[Run]:
        """Every cell with the first seed, then with the next; the control comes first.

        `cells` and `seeds` narrow it down, but never leave out the control. Raises GridError for
        one that the grid does not have.
        """
        names = [cell.name for cell in self.cells]
        for cell in cells:
            if cell not in names:
                raise GridError(f"the grid has no cell {cell!r}; {hint(cell, names)}")
        for seed in seeds:
            if seed not in self.seeds:
                raise GridError(f"seed {seed}: the grid has {', '.join(map(str, self.seeds))}")
        for seed in seeds or self.seeds:
            # The control first, for every other run is compared with it as soon as it is there.
            for one in sorted(self.cells, key=lambda one: one is not self.control):
                if not cells or one.name in cells or one is self.control:
                    named = {"name": f"{one.name}-seed{seed}", "seed": seed}
                    recipe = one.recipe.model_copy(update=named)
                    yield Run(cell=one.name, seed=seed, recipe=recipe)


def load_grid(path: Path) -> Grid:
    """Read a grid, make and check the recipe of every cell.

    Every cell trains on one thread, and on as many tokens as the control unless it says
    `equal_tokens = false`. Raises GridError, or OSError where a file cannot be read.
    """
    table = _read(path)
    base = path.parent / table.base
    cells = tuple(_cell(cell, base) for cell in table.cell)
    control = _control(cells, path)
    for cell, row in zip(cells, table.cell, strict=True):
        _check_tokens(cell, control, equal=row.equal_tokens)
    return Grid(
        name=table.name,
        control=control,
        cells=cells,
        seeds=table.seeds,
        scoring=table.eval,
        keep_models=table.keep_models,
    )


def _read(path: Path) -> GridTable:
    raw = read_toml(path, error=GridError)
    table = check_table(GridTable, raw, source=str(path), error=GridError)
    for what, values in (("cell", [c.name for c in table.cell]), ("seed", table.seeds)):
        twice = [str(value) for value, count in Counter(values).items() if count > 1]
        if twice:
            raise GridError(f"{path}: {what} {twice[0]} comes twice: each once")
    return table


def _cell(table: CellTable, base: Path) -> Cell:
    for change in table.changes:
        if change.partition("=")[0].strip() in OWN:
            raise GridError(f"cell {table.name!r}: {change}: names and seeds are the grid's own")
    try:
        # One thread each: runs side by side must neither slow each other nor sum in another order.
        recipe = load_recipe(base, (*table.changes, "train.threads=1"))
    except RecipeError as error:
        raise GridError(f"cell {table.name!r}: {error}") from error
    return Cell(name=table.name, changes=table.changes, recipe=recipe)


def _control(cells: Sequence[Cell], path: Path) -> Cell:
    unchanged = [cell for cell in cells if not cell.changes]
    if len(unchanged) != 1:
        found = ", ".join(cell.name for cell in unchanged) or "none"
        raise GridError(f"{path}: cells without changes: {found}; wanted one, the control")
    return unchanged[0]


def _check_tokens(cell: Cell, control: Cell, *, equal: bool) -> None:
    if equal and cell.tokens != control.tokens:
        raise GridError(
            f"cell {cell.name!r} trains on {cell.tokens:,} tokens and the control on"
            f" {control.tokens:,}: make them equal, or say equal_tokens = false"
        )
