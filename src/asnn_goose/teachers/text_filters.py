"""Why a text that a teacher wrote is dropped: it goes round in circles, or is evaluated on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from asnn_goose.data.decontaminate import WORDS, Held
from asnn_goose.data.records import Record

RUN = 4
"""Tokens in a row that make a repetition."""

LOOP, OVERLAP, EMPTY = "repeats itself", f"shares {WORDS} words with evaluation", "is empty"


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """most_repeated: largest share of repeated runs (`repeated`); held: texts of evaluation."""

    most_repeated: float
    held: Held

    def fault(self, text: str, ids: Sequence[int]) -> str | None:
        """Why a text, and its tokens, are not kept; None where they are."""
        if not text.strip():
            return EMPTY
        if repeated(ids) > self.most_repeated:
            return LOOP
        return OVERLAP if self.held.overlap(text) else None

    def record(self, text: str, ids: Sequence[int], *, kind: str) -> Record:
        """A line of the file; of what is dropped without its text, which readers pass over."""
        fault = self.fault(text, ids)
        if fault is None:
            return {"text": text, "kind": kind}
        return {"text": "", "kind": kind, "dropped": fault}


def repeated(ids: Sequence[int], *, run: int = RUN) -> float:
    """The share of runs of so many tokens that have stood in the text before.

    >>> repeated([1, 2, 3, 4, 5, 6, 7, 8])
    0.0
    >>> repeated([1, 2] * 10)
    0.8823529411764706
    """
    runs = [tuple(ids[start : start + run]) for start in range(len(ids) - run + 1)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


def summary(records: Iterable[Record]) -> str:
    """How many texts are kept, by kind, and how many are dropped, by reason."""
    kinds, faults = Counter[str](), Counter[str]()
    for record in records:
        fault = record.get("dropped")
        kinds[record["kind"]] += fault is None
        faults[str(fault)] += fault is not None
    total, dropped = sum(kinds.values()) + sum(faults.values()), sum(faults.values())
    kept = ", ".join(f"{count:,} {name}" for name, count in sorted(kinds.items()))
    why = ", ".join(f"{count:,} {fault}" for fault, count in sorted(faults.items()) if count)
    return f"{total - dropped:,} of {total:,} texts kept ({kept}); {dropped:,} dropped" + (
        f": {why}" if why else ""
    )
