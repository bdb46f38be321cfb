"""docs/methods.md names every method of the code, and no file that is not there."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from asnn_goose.losses import LOSSES, PAIR_LOSSES, VOCAB_LOSSES
from asnn_goose.losses.distances import DISTANCES
from asnn_goose.losses.layer_map import RULES
from asnn_goose.model.convert import VARIANTS
from asnn_goose.model.neurons import NEURONS
from asnn_goose.model.presets import PRESETS
from asnn_goose.model.ternary import TERNARY
from asnn_goose.ops.surrogate import SURROGATES
from asnn_goose.train.stages import STAGES

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs/methods.md").read_text(encoding="utf-8")
BASES = (ROOT, ROOT / "src/asnn_goose")
"""Where a path of the page may begin."""

TABLES: dict[str, Collection[str]] = {
    "Conversion": (*STAGES, *VARIANTS),
    "Systems": PRESETS,
    "Logit objectives": VOCAB_LOSSES,
    "Preference objectives": PAIR_LOSSES,
    "Feature objectives": (*LOSSES, *DISTANCES),
    "Layer maps": RULES,
    "Ternary weights": TERNARY,
    "Neurons": NEURONS,
    "Surrogates": SURROGATES,
}
"""Section of the page -> names that the first column of its tables must hold."""

QUOTED = re.compile(r"`([^`]+)`")
A_PATH = re.compile(r"[\w.-]+(/[\w.-]+)*(\.(py|md|toml)|/)")


def first_cells(section: str) -> Iterator[str]:
    """First column of every table row under a heading."""
    _, found, rest = PAGE.partition(f"\n## {section}\n")
    assert found, f"docs/methods.md has no section {section!r}"
    for line in rest.partition("\n## ")[0].splitlines():
        if line.startswith("|"):
            yield line.split("|")[1]


def paths() -> set[str]:
    return {word for word in QUOTED.findall(PAGE) if A_PATH.fullmatch(word)}


@pytest.mark.parametrize("section", TABLES)
def test_every_method_has_a_row(section: str) -> None:
    named = {word for cell in first_cells(section) for word in QUOTED.findall(cell)}
    assert set(TABLES[section]) - named == set(), f"no row in the section {section!r}"


def test_every_row_of_five_columns_has_code_and_a_test() -> None:
    rows = [line.split("|") for line in PAGE.splitlines() if line.startswith("| ")]
    for *_, code, test, _ in (row for row in rows if len(row) == 7 and row[4] != " code "):
        assert QUOTED.search(code), f"no code in {code!r}"
        assert "`tests/" in test, f"no test for {code}"


def test_every_path_exists() -> None:
    assert len(paths()) > 50
    missing = [p for p in sorted(paths()) if not any((base / p).exists() for base in BASES)]
    assert not missing, "docs/methods.md names files that are not there"
