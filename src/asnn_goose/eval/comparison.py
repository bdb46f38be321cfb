"""Teacher and student on identical windows, with everything needed to repeat the number."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from asnn_goose import __version__
from asnn_goose.eval.copy_probe import Copying, CopyTally
from asnn_goose.eval.perplexity import LabelledWindow, Score, TraceFn, perplexity
from asnn_goose.eval.window_errors import Sums, WindowTally, mean_error
from asnn_goose.eval.word_counts import WordTable
from asnn_goose.meter import measured

PACKAGES = ("torch", "transformers", "numpy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """How a text was scored.

    window  tokens of context at most; each window starts from an empty context
    limit   tokens scored per text at most, in windows evenly spaced over it; None: all
    batch   windows per forward pass (no influence on the scores)
    seed    seed of the run that made the student; scoring itself draws no random numbers
    """

    window: int = 512
    limit: int | None = None
    batch: int = 8
    seed: int | None = None

    def describe(self) -> str:
        """One line for a human reader."""
        spread = (
            "all tokens" if self.limit is None else f"up to {self.limit:,} tokens, evenly spaced"
        )
        return (
            f"window {self.window}, empty context at its start, each token scored once,"
            f" {spread}, the same windows for every model; threads {torch.get_num_threads()}"
        )

    def as_dict(self) -> dict[str, Any]:
        """The protocol with versions, threads and machine, for a JSON file."""
        return asdict(self) | {
            "tokens_scored": "each once",
            "identical_windows": True,
            "threads": torch.get_num_threads(),
            # The last digits hang on all of these: sums in another order, other kernels.
            "machine": platform.machine(),
            "python": platform.python_version(),
            "versions": {"asnn-goose": __version__} | {name: version(name) for name in PACKAGES},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One model on one text.

    copying  its score by what of a word stood in the window
    windows  sums of single windows, by part of a mixture: what errors come from
    """

    text: str
    model: str
    score: Score
    copying: Copying
    seconds: float
    peak_bytes: int
    windows: tuple[Sums, ...] = ()

    @property
    def error(self) -> float:
        """Standard error of the mean nats per token; nan where that is not known."""
        return mean_error(self.windows) if self.windows else math.nan

    @property
    def tokens_per_s(self) -> float:
        """Tokens scored per second, all windows of the text together."""
        return self.score.tokens / self.seconds

    def as_dict(self) -> dict[str, Any]:
        """Raw sums and what follows from them; None for what is not a finite number."""
        derived = {
            "perplexity": self.score.perplexity,
            "word_perplexity": self.score.word_perplexity,
            "nats_error": self.error,
            "bits_per_byte": self.score.bits_per_byte,
            "tokens_per_s": self.tokens_per_s,
        }
        copying = {"copying": self.copying.as_dict()}
        plain = asdict(replace(self, windows=()))
        del plain["windows"]
        found: dict[str, Any] = finite(plain | derived | copying)
        return found

    def check(self) -> None:
        """Raise ValueError where the model gave no number."""
        if not math.isfinite(self.score.nll_sum):
            raise ValueError(
                f"the {self.model} gives {self.score.nll_sum} nats on {self.text}: its weights have"
                " diverged, or its numbers overflow"
            )


def finite(value: Any) -> Any:
    """The value, down to its leaves, with None for what JSON has no number for."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    # Python writes NaN and Infinity without asking, which no other reader of JSON takes.
    return None if isinstance(value, float) and not math.isfinite(value) else value


def measure(
    trace: TraceFn,
    texts: Mapping[str, Sequence[LabelledWindow]],
    *,
    model: str,
    protocol: Protocol,
    bytes_V: Tensor | None = None,
    words: WordTable | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Measurement]:
    """Score one model on every text; peak memory is the process's, model included."""
    found = []
    for text, windows in texts.items():
        tally, sums = CopyTally(), WindowTally()
        # By text: a long one must not hide in the speed of a short one.
        with measured() as reading:
            score = perplexity(
                trace,
                windows,
                bytes_V=bytes_V,
                words=words,
                batch=protocol.batch,
                progress=progress,
                each=(tally.add, sums.add),
            )
        found.append(
            Measurement(
                text=text,
                model=model,
                score=score,
                copying=tally.found(),
                seconds=reading.seconds,
                peak_bytes=reading.peak_bytes,
                windows=(sums.found(),),
            )
        )
    return found


def ratio(student: Measurement, teacher: Measurement) -> float:
    """Student's perplexity over the teacher's.

    Raises ValueError unless both scored the same number of tokens of the same text.
    """
    if (student.text, student.score.tokens) != (teacher.text, teacher.score.tokens):
        raise ValueError(
            f"no ratio between {student.score.tokens} tokens of {student.text!r} and"
            f" {teacher.score.tokens} tokens of {teacher.text!r}: score identical windows"
        )
    return student.score.perplexity / teacher.score.perplexity
