"""What one run of a study came to: log perplexity ratios and speed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asnn_goose.numbers import ALL
from asnn_goose.study.grid import ScoringTable


class ScoresError(ValueError):
    """Scores cannot be read, or were not taken as the grid says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """One finished run.

    log_ratios    text -> ln(student's perplexity / teacher's), the difference in nats per token
    teacher       text -> (tokens scored, teacher's negative log-likelihood): the same for all runs
                  that were scored on the same windows against the same teacher
    tokens        training tokens
    tokens_per_s  training speed; nan where the run kept no metrics
    """

    log_ratios: Mapping[str, float]
    teacher: Mapping[str, tuple[int, float]]
    tokens: int
    tokens_per_s: float
    cell: str = ""
    seed: int = 0


def read_scores(file: Path, *, scoring: ScoringTable) -> Scores:
    """Read what an `Evaluation` wrote, and the metrics beside it; cell and seed stay open.

    Raises ScoresError where the file is missing or broken, was made by another protocol, or a
    score is not finite.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        _check_protocol(found, scoring, file)
        nll = {(row["model"], row["text"]): row["score"] for row in found["measurements"]}
        ratios = {text: _log_ratio(nll, text, file) for text in scoring.on}
        teacher = {
            text: (int(nll["teacher", text]["tokens"]), float(nll["teacher", text]["nll_sum"]))
            for text in scoring.on
        }
    except OSError as error:
        raise ScoresError(f"{file}: {error.strerror}") from error
    except (KeyError, TypeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ScoresError(f"{file} is not what eval writes: {error!r}") from error
    tokens, seconds = training_totals(file.with_name("metrics.jsonl"))
    speed = tokens / seconds if tokens else math.nan
    return Scores(log_ratios=ratios, teacher=teacher, tokens=tokens, tokens_per_s=speed)


def _check_protocol(found: Mapping[str, Any], scoring: ScoringTable, file: Path) -> None:
    protocol = found["protocol"]
    limit = None if scoring.tokens == ALL else scoring.tokens
    for setting, was, wanted in (
        ("window", protocol["window"], scoring.window),
        ("tokens", protocol["limit"], limit),
        ("texts", tuple(found["texts"]), scoring.on),
    ):
        if was != wanted:
            raise ScoresError(f"{file} was scored with {setting} {was}, the grid says {wanted}")


def _log_ratio(nll: Mapping[tuple[str, str], Any], text: str, file: Path) -> float:
    student, teacher = nll["student", text], nll["teacher", text]
    if student["tokens"] != teacher["tokens"]:
        raise ScoresError(f"{file}: student and teacher scored different tokens of {text}")
    # Differences in nats a token: they add up and average, ratios of perplexities do not.
    value = (float(student["nll_sum"]) - float(teacher["nll_sum"])) / int(student["tokens"])
    if not math.isfinite(value):
        raise ScoresError(f"{file}: the student's score on {text} is not finite")
    return value


def training_totals(metrics: Path) -> tuple[int, float]:
    """Tokens trained on and seconds taken, from the last line of a run's metrics; 0, 0 without."""
    if not metrics.exists():
        return 0, 0.0
    for line in reversed(metrics.read_text(encoding="utf-8", errors="replace").splitlines()):
        try:
            last = json.loads(line)
            return int(last["tokens_seen"]), float(last["seconds"])
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            continue  # cut by a crash, or no line of a run
    return 0, 0.0
