"""Where precision hurts: one matrix is lowered, all else stays, and the loss is measured again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from asnn_goose.eval.comparison import Protocol
from asnn_goose.eval.perplexity import LabelledWindow, perplexity
from asnn_goose.eval.texts import text_named, windows_of
from asnn_goose.model import GooseForCausalLM
from asnn_goose.model.assistant import load_student
from asnn_goose.model.goose.config import check_words, sites
from asnn_goose.ops.allocator import keep_freed_memory
from asnn_goose.subject.torch_model import load_tokenizer
from asnn_goose.trace import IGNORED_LABEL


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """What lowering each place costs, in nats per token more than `base`.

    entry    the precision that places were lowered to
    names    matrices and sites, the columns of the map
    rows     layers, one by one or in runs of neighbours, as (first, last)
    cost     rows x names
    by_name  the same matrix lowered in all layers at once
    whole    everything lowered at once
    """

    base: float
    tokens: int
    entry: Mapping[str, Any]
    names: tuple[str, ...]
    rows: tuple[tuple[int, int], ...]
    cost: tuple[tuple[float, ...], ...]
    by_name: tuple[float, ...]
    whole: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "precision": dict(self.entry),
            "base_nll": self.base,
            "tokens": self.tokens,
            "names": list(self.names),
            "layers": [list(row) for row in self.rows],
            "cost": [list(row) for row in self.cost],
            "by_name": list(self.by_name),
            "whole": self.whole,
        }


def sensitivity_on(
    student: str,
    *,
    entry: Mapping[str, Any],
    names: Sequence[str] = (),
    together: int = 1,
    text: str,
    tokens: int,
    window: int,
    progress: Callable[[int, int], None] | None = None,
) -> Sensitivity:
    """The sensitivity of a student by name, on `tokens` of a text as `eval` names it.

    Raises ValueError for a precision or name that does not fit, TeacherError where there is no
    student, DataError for an unknown text.
    """
    check_words(dict.fromkeys(names, entry))
    if set(names) & sites():  # signals without a matrix have no basis to turn
        entry = {key: value for key, value in entry.items() if key != "rotate"}
    return sensitivity(
        load_student(student),
        scored_windows(student, text=text, tokens=tokens, window=window),
        entry=entry,
        names=names or None,
        together=together,
        progress=progress,
    )


def scored_windows(student: str, *, text: str, tokens: int, window: int) -> list[LabelledWindow]:
    """Windows of a text as `eval` names it, in the tokens of a student by name."""
    keep_freed_memory()
    tokenizer = load_tokenizer(student)
    parts = windows_of(text_named(text), tokenizer, protocol=Protocol(window=window, limit=tokens))
    return [window for part in parts.values() for window in part]


def sensitivity(
    student: GooseForCausalLM,
    windows: Sequence[LabelledWindow],
    *,
    entry: Mapping[str, Any],
    names: Sequence[str] | None = None,
    together: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Sensitivity:
    """Lower one place after another to the precision `entry` and measure the cross-entropy.

    student   keeps its own precision afterwards, and weights that went through a rotation and
              back, which moves their last bits
    names     places of `precision`; by default every matrix of a block
    together  neighbouring layers that are lowered at the same time
    progress  is told how many measurements are done, of how many

    Raises ValueError for a precision or name that does not fit the student.
    """
    if together < 1:
        raise ValueError(f"together = {together}: must be at least 1 layer")
    chosen = tuple(names or student.config.matrix_columns)
    own = dict(student.config.precision or {})
    every = range(student.config.num_hidden_layers)
    rows = [every[first : first + together] for first in every[::together]]
    # All measurements in one list: the first is the base, and progress knows how many come.
    tables = [own]
    tables += [_lowered(own, row, [name], entry) for row in [*rows, every] for name in chosen]
    tables += [_lowered(own, every, chosen, entry)]
    base, *costs = _losses(student, windows, tables, progress)
    extra = [cost - base for cost in costs]
    width = len(chosen)
    return Sensitivity(
        base=base,
        entry=dict(entry),
        tokens=sum(int((labels != IGNORED_LABEL).sum()) for _, labels in windows),
        names=chosen,
        rows=tuple((row[0], row[-1]) for row in rows),
        cost=tuple(tuple(extra[i * width : (i + 1) * width]) for i in range(len(rows))),
        by_name=tuple(extra[len(rows) * width : -1]),
        whole=extra[-1],
    )


def _losses(
    student: GooseForCausalLM,
    windows: Sequence[LabelledWindow],
    tables: Sequence[dict[str, Any]],
    progress: Callable[[int, int], None] | None,
) -> list[float]:
    """The loss under every precision; the first one is the student's own, and comes back."""
    found = list[float]()
    try:
        for table in tables:
            student.set_precision(table)
            found.append(mean_loss(student, windows))
            if progress:
                progress(len(found), len(tables))
    finally:
        # Put back whatever happens: the caller's student is not ours.
        student.set_precision(tables[0])
    return found


def _lowered(
    own: Mapping[str, Any], layers: range, names: Sequence[str], entry: Mapping[str, Any]
) -> dict[str, Any]:
    """A precision with some places of some layers lowered."""
    return {**own, **{f"{layer}.{name}": dict(entry) for layer in layers for name in names}}


def mean_loss(student: GooseForCausalLM, windows: Sequence[LabelledWindow]) -> float:
    """Mean cross-entropy in nats of the labelled tokens."""
    student.train(False)
    found = perplexity(student.trace, windows, batch=1)
    return found.nll_sum / found.tokens
