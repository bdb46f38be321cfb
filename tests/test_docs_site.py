"""The pages of the site: every link leads somewhere, every room is in the reference."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def site() -> ModuleType:
    spec = importlib.util.spec_from_file_location("site_pages", ROOT / "docs" / "site.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_of_the_navigation_is_there(site: ModuleType, tmp_path: Path) -> None:
    import tomllib

    site.gather(tmp_path / "pages")
    project = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]
    wanted = set(_pages(project["nav"]))
    there = {str(p.relative_to(tmp_path / "pages")) for p in (tmp_path / "pages").rglob("*.md")}
    assert wanted <= there
    assert {page for page in there if not page.startswith("reference/")} <= wanted


def _pages(entries: list[dict[str, object]]) -> list[str]:
    found = []
    for entry in entries:
        for value in entry.values():
            found += [value] if isinstance(value, str) else _pages(value)  # type: ignore[arg-type]
    return found


def test_the_reference_has_what_the_sources_say(site: ModuleType) -> None:
    pages = dict(site.reference())
    rooms = {path.parent.name for path in (ROOT / "src/asnn_goose").glob("*/__init__.py")}
    assert {f"{room}.md" for room in rooms} | {"index.md"} == set(pages)
    assert "### `convert(teacher: Teacher, *, variant: str=" in pages["model.md"]
    assert "### `Engine.start() -> " in pages["infer.md"].replace("(self)", "()")
    assert "_private" not in pages["ops.md"]


@pytest.mark.parametrize(
    ("link", "dead"),
    [
        ("[a](docs/engine.md)", False),
        ("[a](docs/engine.md#the-packed-file-nowhere)", True),
        ("[a](docs/none.md)", True),
        ("![a](docs/none.png)", True),
        ("[a](https://example.org/none)", False),
        ("```\n[a](docs/none.md)\n```", False),
    ],
)
def test_a_dead_link_is_seen(
    site: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, link: str, dead: bool
) -> None:
    monkeypatch.setattr(site, "ROOT", tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "engine.md").write_text("# The engine\n## The packed file\n")
    (tmp_path / "README.md").write_text(f"# Goose\n{link}\n")
    _, found = site.moved(tmp_path / "README.md", {tmp_path / "docs" / "engine.md": "engine.md"})
    assert bool(found) is dead
