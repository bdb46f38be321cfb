"""The watchman: looks at each loss term's gradient now and then, and warns of known failures.

Worse results than without a feature term (negative transfer) cannot be seen from inside one run:
that takes a control beside it (docs/training.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, final

import torch
from torch import Tensor, nn

from asnn_goose.losses import Objective, VocabLoss
from asnn_goose.train.gradient_norm import ALL
from asnn_goose.train.gradient_rule import GradientRule
from asnn_goose.train.gradients import Gradients
from asnn_goose.train.optimiser import Trained

# Below 0 by a margin: gradients of a noisy batch are now and then a little opposed without harm.
CONFLICT = -0.2
"""Cosine between two terms' gradients below which they work against each other."""

DEAD = 1e-3
"""Share of the gradient below which a term does nothing."""

RATIOS = (0.1, 10.0)
"""Where the gradient of a teacher's term stands to that of the text's, when all is well."""

EDGE = 0.01
"""Share of a temperature's range that counts as its bound."""

FALLEN = 2 / 3
"""What is left of a feature term when it has fallen much."""

WINDOWS = 4
"""Windows of `every` steps that are compared."""


@dataclass(frozen=True, kw_only=True)
class WatchSettings:
    """every: steps between two looks."""

    every: int = 50


class Watchman:
    """Watches one stage; its memory is the last means of each term and what it warned of."""

    def __init__(self, settings: WatchSettings, objective: Objective) -> None:
        self._every, self._objective = settings.every, objective
        self._sums: dict[str, float] = {}
        self._means: list[dict[str, float]] = []
        self._standing: list[str] = []

    @property
    def terms(self) -> int:
        """How many terms there are to look at."""
        return len(self._objective.losses)

    def due(self, step: int) -> bool:
        """Whether to look during a step, counted from 1."""
        return step % self._every == 0

    def see(self, terms: Mapping[str, float]) -> None:
        """Take the terms of a step into the mean of the window."""
        for name, value in terms.items():
            self._sums[name] = self._sums.get(name, 0.0) + value

    def look(self, record: Mapping[str, Any], readings: Mapping[str, float]) -> list[str]:
        """At the end of a window: warnings that were not standing at the last one."""
        self._means.append({name: value / self._every for name, value in self._sums.items()})
        # Four windows back is far enough to see a trend, and all that a checkpoint has to carry.
        self._means, self._sums = self._means[-WINDOWS:], {}
        found = dict(self._warnings(record, readings))
        # By key, not by text: the numbers in it change at every look, and the warning would come
        # again.
        new = [text for key, text in found.items() if key not in self._standing]
        self._standing = sorted(found)
        return new

    def _warnings(
        self, record: Mapping[str, Any], readings: Mapping[str, float]
    ) -> Iterator[tuple[str, str]]:
        yield from _conflicts(record["cosine"])
        yield from _dead(record["share"])
        yield from _scales(record["norm"][ALL], *self._kinds())
        yield from _runaways(self._objective, readings)
        yield from self._overfitting()

    def _kinds(self) -> tuple[list[str], list[str]]:
        """Names of the terms over the vocabulary that look at a teacher, and of those on text."""
        losses = self._objective.losses.items()
        vocab = {name: loss for name, loss in losses if isinstance(loss, VocabLoss)}
        taught = [name for name, loss in vocab.items() if loss.uses_teacher]
        return taught, [name for name in vocab if name not in taught]

    def _overfitting(self) -> Iterator[tuple[str, str]]:
        if len(self._means) < WINDOWS:
            return
        first, last = self._means[0], self._means[-1]
        heads = [name for names in self._kinds() for name in names]
        # A feature term that falls is good news as long as a term on the logits falls with it.
        if not heads or any(last[name] < first[name] for name in heads):
            return
        for name, loss in self._objective.losses.items():
            learns = name not in heads and any(True for _ in loss.parameters())
            if learns and last[name] < FALLEN * first[name]:
                yield (
                    f"projector {name}",
                    f"{name} fell from {first[name]:.3g} to {last[name]:.3g} while "
                    f"{' and '.join(heads)} did not fall: its projector may fit the teacher in the "
                    "student's place; lower its weight or lr_scale.loss, or use a loss without one",
                )

    def state(self) -> dict[str, Any]:
        """Values that JSON can hold."""
        return {"sums": self._sums, "means": self._means, "standing": self._standing}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Put back what `state` gave."""
        self._sums, self._standing = dict(state["sums"]), list(state["standing"])
        self._means = [dict(mean) for mean in state["means"]]


@final
class Watched(GradientRule):
    """Another rule, whose passes are split into single terms where the watchman looks.

    The first micro-batch of a step is enough to look at, and splitting every one would cost a
    backward pass a term each time. The rule gets the same gradients, only in smaller parts.

    record  what the step's gradients were, None where he did not look
    """

    def __init__(self, rule: GradientRule, watchman: Watchman, trained: Sequence[Trained]) -> None:
        self._rule, self.watchman, self._trained = rule, watchman, trained
        self.optimiser = rule.optimiser
        self.record: dict[str, Any] | None = None
        self._due = False
        self._parts: dict[str, Gradients] = {}

    def begin(self, step: int) -> None:
        """Look during this step, or not."""
        self._due, self.record = self.watchman.due(step), None
        self._rule.begin(step)

    def passes(self, terms: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """One for each term until they have been seen."""
        return {name: [name] for name in terms} if self._due else self._rule.passes(terms)

    def take(self, terms: Sequence[str], part: Gradients, *, scale: float) -> None:
        """Keep a single term's part until all are there."""
        if self._due:
            self._parts[terms[0]] = part
            if len(self._parts) == self.watchman.terms:
                self.record = measure(self._parts, self._trained)
                # Looked at: later micro-batches of the step go the rule's own, cheaper way.
                self._parts, self._due = {}, False
        self._rule.take(terms, part, scale=scale)

    def look(self, terms: Mapping[str, float], readings: Mapping[str, float]) -> list[str]:
        """After a step: what the watchman has to say of it, nothing where he did not look."""
        self.watchman.see(terms)
        return [] if self.record is None else self.watchman.look(self.record, readings)

    def join(self) -> None:
        self._rule.join()

    def clipped(self, parameters: Sequence[nn.Parameter], factor: Tensor) -> None:
        self._rule.clipped(parameters, factor)

    def readings(self) -> dict[str, float]:
        return self._rule.readings()


def measure(parts: Mapping[str, Gradients], trained: Sequence[Trained]) -> dict[str, Any]:
    """What the terms' gradients are over the student's parameters, as JSON can hold it.

    norm    by optimiser group, and "all": 2-norm of each term's gradient
    cosine  likewise, for each pair of terms, `one/other`; 0 where one of them is 0
    share   each term's norm over the sum of the norms
    """
    names = list(parts)
    products = _products([parts[name] for name in names], trained)
    products[ALL] = torch.stack(list(products.values())).sum(0)
    norms = {group: table.diagonal().sqrt() for group, table in products.items()}
    sizes = norms[ALL].tolist()
    whole = sum(sizes)
    return {
        "norm": {g: dict(zip(names, n.tolist(), strict=True)) for g, n in norms.items()},
        "cosine": {g: _cosines(names, table, norms[g]) for g, table in products.items()},
        "share": {n: v / whole if whole else 0.0 for n, v in zip(names, sizes, strict=True)},
    }


def _products(parts: Sequence[Gradients], trained: Sequence[Trained]) -> dict[str, Tensor]:
    """By group: inner products of the terms' gradients (k,k) in fp64."""
    found: dict[str, Tensor] = {}
    for number, entry in enumerate(trained):
        # Projectors and temperatures are left out: the question is what terms do to the student.
        if entry.name.startswith("student."):
            rows = [part[number] for part in parts]
            # Products need an entry from every term; a term that does not reach a parameter gives 0
            # there.
            flat = [torch.zeros_like(entry.parameter) if r is None else r for r in rows]
            table = found.setdefault(entry.group, torch.zeros(len(parts), len(parts)).double())
            for i, one in enumerate(flat):
                # Half of the table, which is symmetric; a parameter at a time, so that no gradient
                # is joined to one long vector.
                for j, other in enumerate(flat[: i + 1]):
                    table[i, j] += float(torch.dot(one.flatten().float(), other.flatten().float()))
    return {group: table.tril() + table.tril(-1).T for group, table in found.items()}


def _cosines(names: Sequence[str], table: Tensor, norms: Tensor) -> dict[str, float]:
    found = {}
    for i, j in combinations(range(len(names)), 2):
        size = float(norms[i] * norms[j])
        found[f"{names[i]}/{names[j]}"] = float(table[i, j]) / size if size else 0.0
    return found


def _conflicts(cosine: Mapping[str, Mapping[str, float]]) -> Iterator[tuple[str, str]]:
    for group, pairs in cosine.items():
        for pair, value in pairs.items():
            if value < CONFLICT:
                where = "" if group == ALL else f" in group {group}"
                yield (
                    f"conflict {group} {pair}",
                    f"gradients of {pair.replace('/', ' and ')} conflict{where} (cosine "
                    f"{value:.2f}): lower a weight, use [stage.dot] or [stage.project], or train "
                    "them in stages after each other",
                )


def _dead(share: Mapping[str, float]) -> Iterator[tuple[str, str]]:
    for name, value in share.items():
        if value < DEAD:
            yield (
                f"dead {name}",
                f"{name} gives {value:.2%} of the gradient: raise its weight or leave it out",
            )


def _scales(
    norm: Mapping[str, float], taught: Sequence[str], text: Sequence[str]
) -> Iterator[tuple[str, str]]:
    base = sum(norm[name] for name in text)
    for name in taught:
        if base and not RATIOS[0] <= norm[name] / base <= RATIOS[1]:
            yield (
                f"scale {name}",
                f"the gradient of {name} is {norm[name] / base:.3g} times that of "
                f"{' and '.join(text)}: check the factor tau^2 and the weights, wanted "
                f"{RATIOS[0]:g} to {RATIOS[1]:g}",
            )


def _runaways(objective: Objective, readings: Mapping[str, float]) -> Iterator[tuple[str, str]]:
    for name, loss in objective.losses.items():
        tau = readings.get(f"{name}.temperature")
        low, high = getattr(loss, "low", None), getattr(loss, "high", None)
        if tau is None or low is None or high is None:
            continue
        if not low + EDGE * (high - low) < tau < high - EDGE * (high - low):
            yield (
                f"runaway {name}",
                f"the temperature of {name} is {tau:.3g}, at a bound of [{low:g}, {high:g}]: "
                "lower lambda_max or lr_scale.loss, narrow the range, or set an anchor",
            )
