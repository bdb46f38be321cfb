"""Gathers the pages of the documentation site, and writes the reference from the docstrings.

    python docs/site.py build/site-pages && zensical build

Pages stay where a reader of the repository finds them; here they are copied side by side and their
links follow. A link that leads nowhere ends it with exit code 1. The reference is read from the
sources, not imported: it needs no torch.
"""

from __future__ import annotations

import ast
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "asnn_goose"
REPOSITORY = "https://github.com/dttdrv/gerhard/blob/main/"

MOVED = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "LOG.md": "log.md",
    "CHANGELOG.md": "changelog.md",
}
"""Pages that do not lie in docs/, and what they are called on the site."""

LINK = re.compile(r"(?<!\!)\[([^\]\[]*)\]\(([^()\s]+)\)")
PICTURE = re.compile(r"!\[([^\]]*)\]\(([^()\s]+)\)")
CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


class DeadLinkError(ValueError):
    """Links of the pages lead nowhere; the message has one a line."""


def gather(target: Path) -> None:
    """Write all pages into `target`, which is made anew. Raises DeadLinkError."""
    shutil.rmtree(target, ignore_errors=True)
    (target / "reference").mkdir(parents=True)
    pages = {ROOT / name: page for name, page in MOVED.items()}
    pages |= {file: file.name for file in sorted((ROOT / "docs").glob("*.md"))}
    dead = list[str]()
    for file, page in pages.items():
        text, wrong = moved(file, pages)
        (target / page).write_text(text, encoding="utf-8")
        dead += wrong
    for picture in (ROOT / "docs").glob("*.png"):
        shutil.copyfile(picture, target / picture.name)
    for name, text in reference():
        (target / "reference" / name).write_text(text, encoding="utf-8")
    if dead:
        raise DeadLinkError("\n".join(dead))


def moved(file: Path, pages: dict[Path, str]) -> tuple[str, list[str]]:
    """A page with its links as they are on the site, and those that lead nowhere."""
    dead, source = list[str](), file.read_text(encoding="utf-8")

    def follow(found: re.Match[str]) -> str:
        label, link = found[1], found[2]
        place, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link):
            return found[0]
        there = (file.parent / place).resolve() if place else file
        if not there.exists() or (anchor and anchor not in anchors(there)):
            dead.append(f"{file.relative_to(ROOT)}: {link} leads nowhere")
            return found[0]
        if there in pages:
            return f"[{label}]({pages[there]}{'#' * bool(anchor)}{anchor})"
        if there.suffix == ".png":
            return f"[{label}]({there.name})"
        return f"[{label}]({REPOSITORY}{there.relative_to(ROOT)})"

    parts, at = list[str](), 0
    for code in CODE.finditer(source):  # what looks like a link in an example is none
        parts += [
            PICTURE.sub(lambda m: "!" + follow(m), LINK.sub(follow, source[at : code.start()]))
        ]
        parts.append(code[0])
        at = code.end()
    parts.append(PICTURE.sub(lambda m: "!" + follow(m), LINK.sub(follow, source[at:])))
    return "".join(parts), dead


def anchors(page: Path) -> set[str]:
    """What may stand behind # in a link to a page: its headings, as they are on the site."""
    if page.suffix != ".md":
        return set()
    text = CODE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}


def reference() -> Iterator[tuple[str, str]]:
    """A page for every room: what it is for, and its public classes and functions."""
    rooms = sorted(path for path in SOURCE.iterdir() if (path / "__init__.py").is_file())
    rows = [f"| [{room.name}]({room.name}.md) | {_first(_doc(room))} |" for room in rooms]
    table = "\n".join(["| room | what it is for |", "|---|---|", *rows])
    yield "index.md", f"# Reference\n\nEvery room of the package, from its docstrings.\n\n{table}\n"
    for room in rooms:
        files = sorted(room.rglob("*.py"))
        sections = "\n".join(filter(None, map(_section, files)))
        yield f"{room.name}.md", f"# {room.name}\n\n{_doc(room)}\n\n{sections}"


def _doc(room: Path) -> str:
    tree = ast.parse((room / "__init__.py").read_text(encoding="utf-8"))
    return ast.get_docstring(tree) or ""


def _section(file: Path) -> str:
    """The public names of one module; nothing where it has none."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    name = ".".join(("asnn_goose", *file.relative_to(SOURCE).with_suffix("").parts))
    entries = "\n".join(_entries(tree.body, prefix=""))
    if not entries:
        return ""
    about = ast.get_docstring(tree) or ""
    return f"## {name.removesuffix('.__init__')}\n\n{about}\n\n{entries}\n"


def _entries(body: list[ast.stmt], *, prefix: str) -> Iterator[str]:
    for node in body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef) or node.name.startswith("_"):
            continue
        said = ast.get_docstring(node)
        if said is None:
            continue
        yield f"### `{prefix}{node.name}{_signature(node)}`\n\n```text\n{said}\n```\n"
        if isinstance(node, ast.ClassDef):
            yield from _entries(node.body, prefix=f"{node.name}.")


def _signature(node: ast.ClassDef | ast.FunctionDef) -> str:
    if isinstance(node, ast.ClassDef):
        return ""
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"({ast.unparse(node.args)}){returns}"


def _first(text: str) -> str:
    """The first sentence of a docstring, in one line."""
    return text.partition("\n")[0]


if __name__ == "__main__":
    try:
        gather(Path(sys.argv[1]))
    except DeadLinkError as error:
        sys.exit(str(error))
