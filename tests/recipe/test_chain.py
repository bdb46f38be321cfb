"""What a chain of recipes refuses before its first link begins."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from asnn_goose.recipe import RecipeError, load_recipe
from asnn_goose.recipe.chain import begun, load_chain, missing
from asnn_goose.train.run_errors import RunFolderError

Write = Callable[..., Path]


@pytest.fixture
def write(recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a recipe NAME.toml with settings into the working folder."""
    monkeypatch.chdir(tmp_path)

    def make(name: str, *settings: str) -> Path:
        path = Path(f"{name}.toml")
        path.write_text(load_recipe(recipe_file, (f"name={name}", *settings)).to_toml())
        return path

    return make


def assistant(model: str) -> tuple[str, ...]:
    """Settings of a recipe whose last stage learns from `model`."""
    return (f"teacher.0.name='{model}'", f"teacher.0.model='{model}'", "student.start='runs/a'")


@pytest.mark.parametrize("name", ["runs/a", "runs/a/model", "./runs/a/", "runs/../runs/a"])
@pytest.mark.parametrize("key", ["student.start", "teacher.0.model"])
def test_what_an_earlier_link_makes_need_not_be_there(write: Write, name: str, key: str) -> None:
    links = load_chain([write("a"), write("b", "student.start='runs/a'", f"{key}='{name}'")])
    assert [link.folder for link in links] == [Path("runs/a"), Path("runs/b")]
    assert missing(links[0], ()) == []
    assert missing(links[1], links[:1]) == [Path("runs/a")]
    assert begun(links, resume=False) == (False, False)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (("student.start='runs/c'",), "student.start = 'runs/c': nothing is there, and no recipe"),
        (("student.start='else'",), "student.start = 'else': nothing is there"),
        (("student.start='empty'",), "student.start = 'empty': is no student: give a finished run"),
        (("student.start='runs/b'",), "student.start = 'runs/b': that is the folder of its own"),
        (assistant("runs/c"), "teacher.0.model = 'runs/c': nothing is there, and no recipe"),
        (assistant("/no/c"), "no recipe before it makes it; .*wanted a folder with a model"),
        (assistant("smollm-135m"), "is not known; did you mean 'smollm2-135m'"),
        (assistant("empty"), "folder empty has no config.json and 0 GGUF files"),
        (assistant("half"), "teacher.0.model = 'half': is no student: give a finished run"),
        (("teacher.0.model='runs/a'",), "teacher.0.model = 'runs/a': a student cannot be conv"),
        (("name=a",), "name = 'a': its run would go to runs/a, as that of a.toml does"),
    ],
)
def test_what_will_not_be_there_is_refused(
    write: Write, settings: tuple[str, ...], told: str
) -> None:
    Path("empty").mkdir()
    Path("half").mkdir()
    Path("half", "recipe.toml").touch()
    with pytest.raises(RecipeError, match=f"^b.toml: .*{told}"):
        load_chain([write("a"), write("b", *settings)])


def test_a_teacher_that_no_stage_takes_is_not_looked_for(
    write: Write, teacher_folder: Path
) -> None:
    both = f"teacher=[{{ model='{teacher_folder}' }}, {{ model='runs/c', name='spare' }}]"
    load_chain([write("a"), write("b", both)])
    with pytest.raises(RecipeError, match=r"teacher.1.model = 'runs/c'"):
        load_chain([write("a"), write("b", both, "stage.1.teacher=spare")])


def test_the_order_counts(write: Write) -> None:
    files = [write("b", "student.start='runs/a'"), write("a")]
    with pytest.raises(RecipeError, match=r"^b.toml: .*'runs/a': a.toml makes it, and comes later"):
        load_chain(files)
    assert len(load_chain(files[::-1])) == 2


@pytest.fixture
def trained(write: Write, carry_out: Callable[..., None]) -> list[Path]:
    """Two recipes, the first of them carried out."""
    files = [write("a"), write("b", "student.start='runs/a'")]
    carry_out(files[0], Path("runs/a"))
    return files


def test_what_has_begun_goes_on_with_resume_only(trained: list[Path]) -> None:
    links = load_chain(trained)
    assert missing(links[1], links[:1]) == []
    assert begun(links, resume=True) == (True, False)
    with pytest.raises(RecipeError, match=r"^a.toml: runs/a is not empty: resume it"):
        begun(links, resume=False)
    Path("runs/b").mkdir()
    Path("runs/b/notes.txt").touch()
    with pytest.raises(RunFolderError, match="there is no run to resume in runs/b"):
        begun(links, resume=True)


def test_other_settings_than_it_began_with_are_refused(trained: list[Path], write: Write) -> None:
    begun(load_chain([write("a", "log.every=3"), trained[1]]), resume=True)
    links = load_chain([write("a", "stage.1.lr=0.5"), trained[1]])
    with pytest.raises(
        RecipeError, match=r"^a.toml: stage.1.lr is 0.5, and was 0.001 when the run"
    ):
        begun(links, resume=True)


def test_a_link_does_not_go_on_from_another_start_than_its_own(
    trained: list[Path], carry_out: Callable[..., None]
) -> None:
    carry_out(trained[1], Path("runs/b"))
    shutil.rmtree("runs/a")
    with pytest.raises(
        RecipeError, match=r"^b.toml: runs/b began from another runs/a than the one"
    ):
        begun(load_chain(trained), resume=True)
