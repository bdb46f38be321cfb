"""Our modelling code as files that Transformers loads beside weights, without our package.

Transformers fetches single files that import each other by `from .name import`, from one folder.
So the modules that a student needs are copied under flat names, `asnn_goose/model/goose/block.py`
as `model_goose_block.py`, and nothing is written twice. What is compiled is left behind: an
installed package may be of another version than a student's code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from asnn_goose import __version__

PACKAGE = Path(__file__).resolve().parents[1]
MODEL, CONFIG = "model.goose.causal_lm", "model.goose.config"

CODE, ENTRY = "code", "modeling_asnn_goose"
"""Folder of the files, and the one that Transformers is sent to."""

AUTO_MAP = {
    "AutoConfig": f"{CODE}/{ENTRY}.GooseConfig",
    "AutoModelForCausalLM": f"{CODE}/{ENTRY}.GooseForCausalLM",
}
"""What config.json says of it. One file for both, so that both see the same classes."""

COMPILED = {
    'NATIVE = "asnn_goose._native"': 'NATIVE = "asnn_goose._left_behind"',
    "from asnn_goose import _native\n": "_native: Any = None\n",
}
"""Lines that reach compiled code, and what stands for them: it is never found, so never called."""

_IMPORT = re.compile(r"^([ \t]*)from asnn_goose\.([\w.]+) import", re.MULTILINE)

_HEAD = '''"""The student of this repository, for Transformers (`trust_remote_code=True`).

Made by asnn-goose {version} from its own modules: `model_goose_block.py` here is
`asnn_goose/model/goose/block.py` there. Apache-2.0, like the package.
"""

# All of them are named here, as some releases of Transformers copy only what this file names.
'''


def write_modelling_code(folder: Path) -> None:
    """Write every module that a student needs, and the file that leads to them."""
    folder.mkdir(parents=True)
    modules = list(modelling_modules())
    for module in modules:
        source = _IMPORT.sub(_relative, _source(module))
        for reaching, instead in COMPILED.items():
            source = source.replace(reaching, instead)
        (folder / f"{flat(module)}.py").write_text(source, encoding="utf-8")
    (folder / f"{ENTRY}.py").write_text(_entry(modules), encoding="utf-8")


def modelling_modules() -> Iterator[str]:
    """The modules below `asnn_goose` that a student needs, each after those that it imports."""
    done: dict[str, None] = {}

    def visit(module: str) -> None:
        if module not in done:
            for _, name in _IMPORT.findall(_source(module)):
                visit(name)
            done[module] = None

    visit(MODEL)
    yield from done


def flat(module: str) -> str:
    """The name of a module's file: `model.goose.block` -> `model_goose_block`."""
    return module.replace(".", "_")


def _source(module: str) -> str:
    place = PACKAGE.joinpath(*module.split("."))
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    return file.read_text(encoding="utf-8")


def _relative(found: re.Match[str]) -> str:
    return f"{found[1]}from .{flat(found[2])} import"


def _entry(modules: list[str]) -> str:
    """The file that Transformers is sent to."""
    named = "\n".join(f"from .{flat(module)} import __name__ as _" for module in modules)
    classes = (
        f"from .{flat(MODEL)} import GooseForCausalLM\n"
        f"from .{flat(CONFIG)} import GooseConfig\n\n"
        '__all__ = ["GooseConfig", "GooseForCausalLM"]\n'
    )
    return f"{_HEAD.format(version=__version__)}{named}\n\n{classes}"
