"""What is known of a student that is to be shared, for its card."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asnn_goose import __version__, disk
from asnn_goose.data.corpora import find_corpus
from asnn_goose.export.forms import ExportError
from asnn_goose.export.hub_folder import export_hub_folder
from asnn_goose.export.packed import PackSettings
from asnn_goose.model import GooseForCausalLM
from asnn_goose.model.parts.projection import Projection
from asnn_goose.places import run_recipe
from asnn_goose.recipe import Recipe
from asnn_goose.report.model_card import ModelCard, SharedText, render_card
from asnn_goose.shape.student import state
from asnn_goose.sources.teachers import ON_THE_HUB, TEACHERS
from asnn_goose.study.request import Request
from asnn_goose.study.scores import training_totals
from asnn_goose.subject.served import default_name
from asnn_goose.subject.trained import load_trained, template_of, trained_folder

FP32_BYTES = 4
"""Of a number of the state."""

SCORES, BENCH, METRICS = "eval.json", "bench.json", "metrics.jsonl"
"""Files of a run whose numbers go into the card."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """A folder that was written, and what its card or the folder itself lacks, in sentences."""

    folder: Path
    missing: tuple[str, ...]


def share(student: str, folder: Path, *, settings: PackSettings | None = None) -> Shared:
    """Write the folder in which a student is shared.

    Raises SubjectError for what is no trained student, ExportError for a folder that is something
    else already.
    """
    source = trained_folder(student)
    disk.check_folder(folder)
    model, cards = load_trained(student), list[ModelCard]()
    chat = template_of(source) is not None

    def card(unpacked: str) -> str:
        cards.append(model_card(student, model, chat=chat, unpacked=unpacked))
        return render_card(cards[-1])

    export_hub_folder(model, folder, source=source, card=card, settings=settings)
    return Shared(folder=folder, missing=tuple(_missing(cards[-1])))


def _missing(card: ModelCard) -> Iterator[str]:
    if card.unpacked:
        yield f"a packed student: {card.unpacked}"
    if not card.scores:
        yield f"perplexity: asnn-goose eval RUN --json RUN/{SCORES}, then export again"
    if not card.bench:
        yield f"what a token costs: asnn-goose bench RUN --json RUN/{BENCH}, then export again"


def model_card(student: str, model: GooseForCausalLM, *, chat: bool, unpacked: str) -> ModelCard:
    """The card of a run's student, or of a student alone, of whose making nothing is known.

    Raises ExportError where a file of scores is no JSON.
    """
    file, recipe = run_recipe(student), Request(model=student).recipe()
    run = file.parent if file else Path(student).expanduser()
    numbers = sum(math.prod(part.shape) for part in state(model.config.to_dict()))
    teacher = recipe.teacher[0].model if recipe else "a transformer that is not recorded"
    return ModelCard(
        name=default_name(student),
        version=__version__,
        teacher=public_name(teacher),
        base=hub_name(teacher) if recipe else "",
        licence=ON_THE_HUB[teacher].licence if teacher in ON_THE_HUB else "",
        settings=model.config.to_dict(),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        precision=precision_of(model),
        state_bytes=FP32_BYTES * model.config.num_hidden_layers * numbers,
        chat=chat,
        texts=list(texts_of(recipe)) if recipe else (),
        trained=_trained(run / METRICS),
        scores=_read(run / SCORES),
        bench=_read(run / BENCH),
        unpacked=unpacked,
        recipe=public_recipe(recipe) if recipe else "",
    )


def public_name(name: str) -> str:
    """A name as it is, a path of this machine without its folders."""
    local = Path(name).is_absolute() or Path(name).expanduser().exists()
    return Path(name).name if local and name not in TEACHERS else name


def public_recipe(recipe: Recipe) -> str:
    """The recipe as TOML, without folders of this machine."""
    text, data = recipe.to_toml(), recipe.data
    names = [teacher.model for teacher in recipe.teacher]
    names += [*data.train, *data.out_of_domain, *(data.decontaminate or ())]
    names += [recipe.student.start] if recipe.student.start else []
    for name in sorted(names, key=len, reverse=True):
        text = text.replace(json.dumps(name), json.dumps(public_name(name)))
    return text


def hub_name(teacher: str) -> str:
    """Where a teacher is on the Hub; "" for a folder."""
    if teacher in ON_THE_HUB:
        return ON_THE_HUB[teacher].name
    return teacher if teacher == public_name(teacher) and teacher not in TEACHERS else ""


def precision_of(model: GooseForCausalLM) -> list[tuple[str, int]]:
    """What the matrices of the blocks are, in words, and how many are each."""
    found = Counter(
        _words(module.precision.planes, module.precision.steps)
        for module in model.modules()
        if isinstance(module, Projection)
    )
    return found.most_common()


def _words(planes: int, steps: int) -> str:
    weights = f"ternary weights, {planes} plane{'s' * (planes > 1)}" if planes else "dense weights"
    spikes = f"ternary spikes, {steps} step{'s' * (steps > 1)}" if steps else "analogue inputs"
    return f"{weights}; {spikes}"


def texts_of(recipe: Recipe) -> Iterator[SharedText]:
    """Every text of training with its licence; a user's own file by its name alone."""
    data = recipe.data
    weights = data.weights or (None,) * len(data.train)
    for name, weight in zip(data.train, weights, strict=True):
        corpus = find_corpus(name)
        yield SharedText(
            name=name if corpus else public_name(name),
            licence=corpus.licence if corpus else "not known to asnn-goose",
            source=corpus.source if corpus else "the maker's own choice",
            share=None if weight is None else 100 * weight / sum(data.weights),
        )


def _trained(metrics: Path) -> tuple[int, float] | None:
    tokens, seconds = training_totals(metrics)
    return (tokens, seconds) if tokens else None


def _read(file: Path) -> Mapping[str, Any]:
    if not file.is_file():
        return {}
    try:
        found: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ExportError(f"{file} is not JSON: {error}") from error
    return found
