"""Recipes one after the other, each of which may go on from what an earlier one makes.

Teacher assistants (Mirzadeh et al., AAAI 2020, arXiv 1902.03393) are such a chain.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from asnn_goose.model import TeacherError
from asnn_goose.model.lookup import check_teacher
from asnn_goose.places import is_student
from asnn_goose.recipe.identity import identity
from asnn_goose.recipe.load import load_recipe
from asnn_goose.recipe.recipe_error import RecipeError
from asnn_goose.recipe.run_tables import SCRATCH
from asnn_goose.recipe.schema import Recipe
from asnn_goose.recipe.teachers import used_teachers
from asnn_goose.train.folder import RunFolder
from asnn_goose.train.trackers import check_installed

RUNS = Path("runs")
"""Where runs go that are given no folder."""


@dataclass(frozen=True, kw_only=True)
class Link:
    """A recipe of a chain: its file, and the folder that its run goes to."""

    file: Path
    recipe: Recipe
    folder: Path

    @property
    def finished(self) -> bool:
        """Whether its student is there."""
        return is_student(str(self.folder))

    def makes(self, name: str) -> bool:
        """Whether a name in a recipe means its run folder, or the model/ in it."""
        folder = self.folder.resolve()
        # Resolved, because a recipe may name the run by another way to the same folder.
        return Path(name).expanduser().resolve() in (folder, folder / "model")


def run_folder(recipe: Recipe) -> Path:
    """Where a run goes that is given no folder."""
    return RUNS / recipe.name


def load_chain(files: Sequence[Path]) -> tuple[Link, ...]:
    """Read recipes that are carried out in this order, and check them before the first begins.

    Raises RecipeError, TrackerError or OSError: a recipe is wrong, two go to one folder, or one
    starts from or learns from what neither exists nor is made by a recipe before it.
    """
    links: list[Link] = []
    for file in files:
        recipe = load_recipe(file)
        check_installed(recipe.log.trackers)
        links.append(Link(file=file, recipe=recipe, folder=run_folder(recipe)))
    for number, link in enumerate(links):
        _check_folder(link, links[:number])
        _check_models(link, earlier=links[:number], later=links[number + 1 :])
    return tuple(links)


def named_models(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Place and name of everything a run loads: where the student starts, and its teachers."""
    start = recipe.student.start
    if start is not None and start != SCRATCH:
        yield "student.start", start
    for number in used_teachers(recipe):
        yield f"teacher.{number}.model", recipe.teacher[number].model


def missing(link: Link, earlier: Sequence[Link]) -> list[Path]:
    """Folders of links before it that it needs and that are not finished."""
    names = [name for _, name in named_models(link.recipe)]
    return [
        before.folder
        for before in earlier
        if not before.finished and any(before.makes(name) for name in names)
    ]


def begun(links: Sequence[Link], *, resume: bool) -> tuple[bool, ...]:
    """Which runs have begun, finished ones included.

    Raises RecipeError or RunFolderError for a folder that is used without `resume`, or that holds
    no run, one of other settings, or one that began from what is still to be made.
    """
    found = tuple(RunFolder(link.folder).is_used() for link in links)
    for number, link in enumerate(links):
        if found[number]:
            _check_begun(link, links[:number], resume=resume)
    return found


def _check_folder(link: Link, earlier: Sequence[Link]) -> None:
    for before in earlier:
        if before.folder.resolve() == link.folder.resolve():
            raise RecipeError(
                f"{link.file}: name = {link.recipe.name!r}: its run would go to {link.folder}, as "
                f"that of {before.file} does; give each a name of its own"
            )


def _check_models(link: Link, *, earlier: Sequence[Link], later: Sequence[Link]) -> None:
    """Refuse a start or a teacher that will not be there when its turn comes."""
    for place, name in named_models(link.recipe):
        where = f"{link.file}: {place} = {name!r}"
        if link.makes(name):
            raise RecipeError(f"{where}: that is the folder of its own run")
        for other in later:
            if other.makes(name):
                raise RecipeError(f"{where}: {other.file} makes it, and comes later; put it first")
        made = any(before.makes(name) for before in earlier)
        if place == "teacher.0.model" and link.recipe.student.start in (None, SCRATCH):
            _check_converts(where, student=made or is_student(name))
        if not made:
            _check_exists(where, place, name)


def _check_converts(where: str, *, student: bool) -> None:
    if student:
        raise RecipeError(
            f"{where}: a student cannot be converted; name it as student.start, or put a "
            "transformer first"
        )


def _check_exists(where: str, place: str, name: str) -> None:
    """Refuse what no recipe makes and what is not there either."""
    folder = Path(name).expanduser()
    if is_student(name):
        return
    if not folder.exists() and (place == "student.start" or RUNS in folder.parents):
        raise RecipeError(f"{where}: nothing is there, and no recipe before it makes it")
    if place == "student.start" or (folder / "recipe.toml").is_file():
        raise RecipeError(f"{where}: is no student: give a finished run or its model/ folder")
    try:
        check_teacher(name)
    except TeacherError as error:
        raise RecipeError(f"{where}: no recipe before it makes it; {error}") from error


def _check_begun(link: Link, earlier: Sequence[Link], *, resume: bool) -> None:
    where = f"{link.file}: {link.folder}"
    if not resume:
        raise RecipeError(f"{where} is not empty: resume it, or move it away")
    RunFolder(link.folder).check(resume=True)
    _check_settings(link)
    for folder in missing(link, earlier):
        raise RecipeError(
            f"{where} began from another {folder} than the one that is still to be made: "
            "move it away, and it is made anew"
        )


def _check_settings(link: Link) -> None:
    """Refuse a run that began with other settings than its recipe has now."""
    now = identity(link.recipe, [])
    try:
        then = identity(load_recipe(link.folder / "recipe.toml"), [])
    except RecipeError:
        return  # written by another version: its checkpoint knows what it began with
    for key in sorted(then.keys() | now.keys()):
        if then.get(key) != now.get(key):
            raise RecipeError(
                f"{link.file}: {key} is {now.get(key, 'not set')}, and was "
                f"{then.get(key, 'not set')} when the run in {link.folder} began: put it back, or "
                "give the recipe a name of its own"
            )
