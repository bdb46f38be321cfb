"""A student's spikes on a text, beside its teacher's features."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asnn_goose.eval.comparison import Protocol, finite
from asnn_goose.eval.effective import PlaceWork, effective
from asnn_goose.eval.spikes.information import Information, classes, components, information
from asnn_goose.eval.spikes.statistics import Gate, Place, gates, place_of
from asnn_goose.eval.spikes.tally import PlaceTally, seeing, tallies_of
from asnn_goose.eval.texts import windows_of
from asnn_goose.eval.watch import Watch, unwatched
from asnn_goose.format.packed import read_packed
from asnn_goose.ops.hsic import unbiased_cka
from asnn_goose.places import SubjectError
from asnn_goose.study.findings import Findings
from asnn_goose.study.request import TEACHER, Request, check_vocabulary
from asnn_goose.subject.engine_model import packed_folder
from asnn_goose.subject.torch_model import TorchModel, load_torch

TOKENS, WINDOW = 2048, 256

ALIKE = 512
"""Tokens, evenly taken, of which CKA is computed: its memory grows with their square."""

RASTER_TOKENS, RASTER_CHANNELS = 32, 32
"""Sizes of the picture of a sentence: tokens across, channels down."""

NEEDS = frozenset({"hidden", "vocab"})
"""The hidden states, and the neuron before the head, where there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpikeStudy(Findings):
    """Everything that came out.

    raster   codes of a sentence by place
    no_work  why there is no `work`: what a student has that cannot be packed
    """

    models: Mapping[str, str]
    text: str
    tokens: int
    places: Sequence[Place]
    cka: Mapping[int, float]
    raster: Mapping[str, Any]
    work: Sequence[PlaceWork] = ()
    no_work: str = ""

    def gates(self) -> list[Gate]:
        """Pass or fail."""
        return gates(self.places, self.cka)

    def as_dict(self) -> dict[str, Any]:
        """For a JSON file."""
        return {
            "models": dict(self.models),
            "text": self.text,
            "tokens": self.tokens,
            "gates": [asdict(gate) for gate in self.gates()],
            "cka": {str(layer): value for layer, value in self.cka.items()},
            "places": [finite(asdict(place)) for place in self.places],
            "work": [asdict(place) for place in self.work],
            "no_work": self.no_work,
            "raster": dict(self.raster),
        }


def study_spikes(
    request: Request, *, with_teacher: bool = True, watch: Watch = unwatched
) -> SpikeStudy:
    """Run student and teacher on the same windows of a text.

    Raises SubjectError for a model without spikes, DataError, or what loading a model raises.
    """
    recipe = request.recipe()
    models = request.models(recipe)
    if not with_teacher:
        models = {role: name for role, name in models.items() if role != TEACHER}
    student = load_torch(request.model)
    tallies = tallies_of(student.model)
    if not tallies:
        raise SubjectError(f"{request.model} has no spikes: its precision sets no steps")
    (text,) = request.texts(recipe)[:1]
    protocol = Protocol(window=request.window or WINDOW, limit=request.tokens or TOKENS)
    windows = [
        tokens_1T
        for held in windows_of(text, student.tokenizer, protocol=protocol).values()
        for tokens_1T, _ in held
    ]
    total = sum(window.numel() for window in windows) * len(models)
    with watch(f"spikes of {request.model}", total) as advance:
        with seeing(student.model, lambda name, q_BTK: tallies[name].add(q_BTK)):
            hidden = _hidden(student, windows, advance)
        theirs = list[Tensor]()
        if TEACHER in models:
            teacher = load_torch(models[TEACHER])
            check_vocabulary(request.model, student.tokenizer, teacher.name, teacher.tokenizer)
            theirs = _hidden(teacher, windows, advance)
    work, no_work = _work(request.model, tallies)
    told_of = _informations(tallies, theirs, layers=len(hidden) - 1) if theirs else {}
    return SpikeStudy(
        models=models,
        text=text.describe(),
        tokens=len(hidden[0]),
        places=[place_of(tally, told_of.get(name)) for name, tally in tallies.items()],
        cka=alike_by_layer(hidden, theirs) if theirs else {},
        raster=_raster(student, windows[0][0, :RASTER_TOKENS]),
        work=work,
        no_work=no_work,
    )


def _work(student: str, tallies: Mapping[str, PlaceTally]) -> tuple[list[PlaceWork], str]:
    """Synaptic operations of its packed form; or why it has none."""
    try:
        model = read_packed(packed_folder(student))
    except ValueError as error:  # a neuron or a method that only trains, or a full disk
        return [], str(error)
    spikes = {name: tally.spikes_KS().sum(1).numpy() for name, tally in tallies.items()}
    tokens = max(tally.tokens for tally in tallies.values())
    return list(effective(model, spikes, tokens=tokens)), ""


@torch.no_grad()
def _hidden(
    subject: TorchModel, windows: Sequence[Tensor], advance: Callable[[int], None]
) -> list[Tensor]:
    """Embedding and outputs of all blocks, (n, D) each, over all windows."""
    kept: list[list[Tensor]] = []
    for tokens_1T in windows:
        kept.append([x[0] for x in subject.trace(tokens_1T, NEEDS).hidden])
        advance(tokens_1T.numel())
    return [torch.cat(layer) for layer in zip(*kept, strict=True)]


def matching(layer: int, layers: int, others: int) -> int:
    """The block of a teacher of `others` blocks that stands where `layer` of `layers` does."""
    return round(layer * others / layers)


def alike_by_layer(hidden: Sequence[Tensor], theirs: Sequence[Tensor]) -> dict[int, float]:
    """Unbiased linear CKA of every block's output with that of the teacher's in its place."""
    layers, others = len(hidden) - 1, len(theirs) - 1
    count = len(hidden[0])
    chosen = torch.arange(min(ALIKE, count)) * count // min(ALIKE, count)
    return {
        layer: float(
            unbiased_cka(
                hidden[layer][chosen].double(),
                theirs[matching(layer, layers, others)][chosen].double(),
            )
        )
        for layer in range(1, layers + 1)
    }


def _informations(
    tallies: Mapping[str, PlaceTally], theirs: Sequence[Tensor], *, layers: int
) -> dict[str, Information]:
    """Place -> what its spikes tell of the stream that enters the teacher's block there."""
    cut: dict[int, NDArray[np.int64]] = {}
    found = {}
    for name, tally in tallies.items():
        layer = layers if tally.layer is None else tally.layer
        other = matching(layer, layers, len(theirs) - 1)
        if other not in cut:
            cut[other] = classes(components(theirs[other].double().numpy()))
        found[name] = information(tally.codes_nM.numpy(), cut[other])
    return found


def _raster(student: TorchModel, tokens_T: Tensor) -> dict[str, Any]:
    """Codes of evenly taken channels of every place on a sentence, and its tokens as text."""
    told: dict[str, Tensor] = {}
    with torch.no_grad(), seeing(student.model, lambda name, q_BTK: told.update({name: q_BTK})):
        student.trace(tokens_T[None], NEEDS)
    places = {}
    for name, q_BTK in told.items():
        columns = q_BTK.shape[-1]
        count = min(RASTER_CHANNELS, columns)
        channels = torch.arange(count) * columns // count
        places[name] = q_BTK[0][:, channels].T.to(torch.int64).tolist()
    words = [student.tokenizer.decode([token]) for token in tokens_T.tolist()]
    return {"tokens": words, "places": places}
