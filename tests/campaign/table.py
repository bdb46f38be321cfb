"""A campaign's log as a table: trials by command and blow, and what was wrong.

python -m tests.campaign.table build/campaign-0.tsv
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

WANTED = 1000


def table(rows: Sequence[str]) -> Iterator[str]:
    """Lines of Markdown: a row a command, a column a blow, and every trial that went wrong."""
    cells = [row.split("\t") for row in rows]
    counts = Counter((name, blow) for _, _, name, blow, *_ in cells)
    blows = sorted({blow for _, blow in counts})
    yield "| command | " + " | ".join(blows) + " | sound |"
    yield "|" + "---|" * (len(blows) + 2)
    for name in sorted({name for name, _ in counts}):
        sound = [row[-1] == "sound" for row in cells if row[2] == name]
        each = " | ".join(str(counts[name, blow] or "") for blow in blows)
        yield f"| {name} | {each} | {sum(sound)} of {len(sound)} |"
    wrong = [row for row in cells if row[-1] != "sound"]
    spent = sum(float(row[7]) for row in cells) / 3600
    said = f"{len(cells) - len(wrong)} of {len(cells)} sound, of {WANTED} wanted"
    yield f"\n{said}; {spent:.2f} hours of a processor"
    for number, seed, name, blow, when, met, *_, fault in wrong:
        yield f"- {number} of seed {seed}: {name}, {blow} at {when} ({met}): {fault}"


def main() -> int:
    """Print it."""
    print("\n".join(table(Path(sys.argv[1]).read_text("utf-8").splitlines())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
