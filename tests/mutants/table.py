"""The table of docs/mutants.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from verdicts import Result, one_line

HEAD = """# Mutants

Made by `make mutants`: each line breaks one formula or one wire of the code in a copy of it and
says which test noticed first. The lists are `tests/mutants/*.toml`; how to add to them stands in
[CONTRIBUTING.md](../CONTRIBUTING.md).

"""


def write_table(results: Sequence[Result], path: Path) -> None:
    """Write the counts of each room and a line for each mutant."""
    mutants = sorted((r for r in results if r.mutant.file), key=lambda r: r.mutant.name)
    lines = [HEAD + "| room | mutants | noticed | argued | at fault |", "|---|---|---|---|---|"]
    rooms = sorted({_room(r) for r in mutants})
    lines += [_counts(room, [r for r in mutants if _room(r) == room]) for room in rooms]
    lines += [_counts("all", mutants), "", "| file | instead of | stands | noticed by |"]
    lines += ["|---|---|---|---|", *map(_row, mutants)]
    path.write_text("\n".join(lines) + "\n", "utf-8")


def _room(result: Result) -> str:
    return result.mutant.file.partition("/")[0]


def _counts(room: str, results: Sequence[Result]) -> str:
    verdicts = Counter(r.verdict for r in results)
    faults = sum(r.fault for r in results)
    return f"| {room} | {len(results)} | {verdicts['killed']} | {verdicts['argued']} | {faults} |"


def _row(result: Result) -> str:
    mutant = result.mutant
    noticed = {"killed": result.noticed.rpartition("::")[2] or result.noticed}
    last = noticed.get(result.verdict, mutant.argument or f"**{result.verdict}**")
    return f"| {mutant.file} | {_code(mutant.old)} | {_code(mutant.new)} | {last} |"


def _code(text: str) -> str:
    shown = one_line(text).replace("|", "\\|")
    return f"`{shown}`" if shown else "(nothing)"
