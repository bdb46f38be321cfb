"""A student beside its teacher, or a model alone: which texts, which protocol, which numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from asnn_goose.eval.comparison import Measurement, Protocol, finite, measure, ratio
from asnn_goose.eval.copy_probe import PROBE_TOKENS, Probes, joined, probes
from asnn_goose.eval.perplexity import LabelledWindow, mixed
from asnn_goose.eval.text_bytes import text_bytes
from asnn_goose.eval.texts import Text, windows_of
from asnn_goose.eval.watch import Watch, unwatched
from asnn_goose.eval.window_errors import Difference, difference
from asnn_goose.eval.word_counts import word_table
from asnn_goose.numbers import ALL
from asnn_goose.ops.allocator import keep_freed_memory
from asnn_goose.recipe import Recipe
from asnn_goose.study.findings import Findings
from asnn_goose.study.request import STUDENT, TEACHER, Request
from asnn_goose.subject.torch_model import TorchModel, load_torch

DEFAULT_TOKENS = 32_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation(Findings):
    """What was scored, how, and what came out; `models` gives the name of each role.

    `probes` has no row for a role whose learned positions are too few for them.
    """

    protocol: Protocol
    texts: Sequence[Text]
    models: Mapping[str, str]
    measurements: Sequence[Measurement]
    probes: Mapping[str, Probes]

    def ratios(self) -> dict[str, float]:
        """Text -> the student's perplexity over the teacher's; empty where there is no teacher."""
        teacher = {row.text: row for row in self.measurements if row.model == TEACHER}
        return {
            row.text: ratio(row, teacher[row.text])
            for row in self.measurements
            if row.model == STUDENT and row.text in teacher
        }

    def differences(self) -> dict[tuple[str, str, str], Difference]:
        """(text, model, other) -> nats per token that the model loses more, paired by window.

        Every model beside the first one, and those named besides also beside the student.
        """
        rows = {(row.text, row.model): row for row in self.measurements}
        first, *others = self.models
        pairs = [(one, first) for one in others]
        pairs += [(one, STUDENT) for one in others if STUDENT in others and one != STUDENT]
        return {
            (text, one, other): difference(rows[text, one].windows, rows[text, other].windows)
            for text in dict.fromkeys(row.text for row in self.measurements)
            for one, other in pairs
        }

    def as_dict(self) -> dict[str, Any]:
        """Protocol, models, texts, every measurement with its raw sums, ratios and probes."""
        return {
            "protocol": self.protocol.as_dict(),
            "models": dict(self.models),
            "texts": {text.name: [list(part) for part in text.parts] for text in self.texts},
            "shares": {text.name: list(text.shares) for text in self.texts if text.shares},
            "measurements": [row.as_dict() for row in self.measurements],
            "ratios": finite(self.ratios()),
            "differences": [
                {"text": text, "model": one, "less": other, **finite(found._asdict())}
                for (text, one, other), found in self.differences().items()
            ],
            "probes": finite({role: asdict(row) for role, row in self.probes.items()}),
        }

    def check(self) -> None:
        """Raise ValueError where a model gave no number, or infinity."""
        for row in self.measurements:
            row.check()


def evaluate(request: Request, *, watch: Watch = unwatched) -> Evaluation:
    """Score a run, a student or a teacher.

    Raises SubjectError, DataError, RecipeError, or what loading a model raises.
    """
    keep_freed_memory()
    recipe = request.recipe()
    protocol = protocol_of(request, recipe)
    texts = request.texts(recipe)
    models = request.models(recipe)
    # Before any model is loaded: another tokenizer makes a ratio meaningless.
    tokenizer = request.tokenizer(models)
    windows = {
        name: held
        for text in texts
        for name, held in windows_of(text, tokenizer, protocol=protocol).items()
    }
    found, probed = list[Measurement](), dict[str, Probes]()
    for role, name in models.items():
        # One after the other, so that the peak memory of each is its own.
        subject = load_torch(name)
        measured = _measure_model(subject, role, windows, protocol, watch)
        found += in_original_words(texts, _with_mixtures(texts, measured))
        if _reads(subject, PROBE_TOKENS):
            probed[role] = probes(subject.trace, vocabulary=len(subject.tokenizer))
    return Evaluation(
        protocol=protocol, texts=texts, models=models, measurements=found, probes=probed
    )


def protocol_of(request: Request, recipe: Recipe | None) -> Protocol:
    """Options win over the recipe, the recipe over defaults."""
    window = request.window or (recipe.eval.window if recipe else Protocol().window)
    tokens = request.tokens or (recipe.eval.tokens if recipe else DEFAULT_TOKENS)
    return Protocol(
        window=window, limit=None if tokens == ALL else tokens, seed=recipe.seed if recipe else None
    )


def _with_mixtures(texts: Sequence[Text], measured: Sequence[Measurement]) -> Iterator[Measurement]:
    """The measurements of one model, each mixture's own before those of its parts."""
    rows = {row.text: row for row in measured}
    for text in texts:
        parts = [rows[name] for name in text.names()]
        if text.shares:
            yield replace(
                parts[0],
                text=text.name,
                score=mixed([part.score for part in parts], text.shares),
                copying=joined([part.copying for part in parts]),
                seconds=sum(part.seconds for part in parts),
                peak_bytes=max(part.peak_bytes for part in parts),
                windows=tuple(
                    sums._replace(share=share)
                    for part, share in zip(parts, text.shares, strict=True)
                    for sums in part.windows
                ),
            )
        yield from parts


def in_original_words(
    texts: Sequence[Text], measured: Iterable[Measurement]
) -> Iterator[Measurement]:
    """The measurements with words as the original text counts them."""
    factors = {text.name: text.words for text in texts}
    for row in measured:
        words = row.score.words * factors.get(row.text, 1.0)
        yield replace(row, score=replace(row.score, words=words))


def _reads(subject: TorchModel, tokens: int) -> bool:
    """Whether a model can read so many tokens at once: learned positions have an end."""
    positions = getattr(subject.model.config, "n_positions", 0)
    return not positions or positions >= tokens


def _measure_model(
    subject: TorchModel,
    role: str,
    windows: Mapping[str, Sequence[LabelledWindow]],
    protocol: Protocol,
    watch: Watch,
) -> list[Measurement]:
    """Score one model on all texts."""
    total = sum(labels.numel() for text in windows.values() for _, labels in text)
    with watch(f"{role} {subject.name}", total) as advance:
        return measure(
            subject.trace,
            windows,
            model=role,
            protocol=protocol,
            bytes_V=text_bytes(subject.tokenizer, subject.model.config.vocab_size),
            words=word_table(subject.tokenizer, subject.model.config.vocab_size),
            progress=advance,
        )
