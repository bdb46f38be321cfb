"""From a trained student to a packed folder that the engine runs."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import torch

from asnn_goose.export import forms
from asnn_goose.export.absorb import why_not
from asnn_goose.export.forms import Arrays, ExportError
from asnn_goose.format.origin import write_origin
from asnn_goose.format.packed import TOKENIZER_FILES, packed_folder, write_packed
from asnn_goose.model import GooseConfig, GooseForCausalLM
from asnn_goose.model.neurons import Neuron
from asnn_goose.model.parts.precision import Precision
from asnn_goose.model.parts.precision_table import BLOCK_SITES, OUTSIDE, PrecisionTable
from asnn_goose.model.parts.projection import Projection
from asnn_goose.ops.hadamard import rotated
from asnn_goose.ops.ternary import absmean
from asnn_goose.shape.settings import fault
from asnn_goose.shape.slots import (
    EMBEDDING,
    HEAD,
    POSITIONS,
    MatrixSlot,
    Part,
    SiteSlot,
    Slot,
    VectorSlot,
)
from asnn_goose.shape.student import layout, parts

# Threshold 4: clipping at 2 mean magnitudes cost .019 nats (docs/results.md).
TERNARY_HEAD = Precision(planes=2, steps=3, code="radix3", threshold=4.0, rotate=True)
"""What `head = "ternary"` means; the embedding's rows stay int8."""

HEADS = ("int8", "int4", "f16", "ternary")

Entry = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class PackSettings:
    """Number formats of a packed model.

    dense     block matrices that `precision` leaves dense: "f16", "f32", or "int8" and "int4" in
              groups of 64 columns (`export.grouped`)
    low_rank  low-rank factors of the mixers: the same, but int8 has a scale per row
    head      embedding and head: "f16", "int8" (a scale per row), "int4" (in groups), or "ternary"
              for a head of its own (TERNARY_HEAD)
    absorb    amplitudes of spikes move into the weights' scales where they can (`export.absorb`)

    Raises ExportError for another word.
    """

    dense: str = "f16"
    low_rank: str = "int8"
    head: str = "int8"
    absorb: bool = False

    def __post_init__(self) -> None:
        for setting, allowed in (
            ("dense", forms.DENSE),
            ("low_rank", forms.LOW_RANK),
            ("head", HEADS),
        ):
            found = getattr(self, setting)
            if found not in allowed:
                raise ExportError(f"{setting} = {found!r}: choose one of {', '.join(allowed)}")


@dataclass(frozen=True, kw_only=True)
class Packed:
    """What was written: bytes by part of the model, and what all of it takes as fp32.

    kept  with `absorb`: spiking matrix or site -> why its amplitude stays where it is
    """

    bytes_by_part: dict[str, int]
    fp32_bytes: int
    kept: dict[str, str] = field(default_factory=dict)

    @property
    def total_bytes(self) -> int:
        """Bytes of all tensors."""
        return sum(self.bytes_by_part.values())


def export_packed(
    model: GooseForCausalLM,
    folder: Path,
    *,
    settings: PackSettings | None = None,
    tokenizer: Path | None = None,
) -> Packed:
    """Pack a student into `folder`, which appears whole or not at all.

    tokenizer  the student's folder, whose tokenizer files are copied beside the weights, with a
               note of what the packed model was made of
    Raises ExportError for what cannot be packed, PackedError where `folder` holds anything but an
    older packed model.
    """
    settings = settings or PackSettings()
    kept = _kept(model) if settings.absorb else {}
    with packed_folder(folder) as fresh:
        arrays, matrices = pack(model, settings)
        # Whole, with defaults: a default that changes some day must not change old files.
        config = json.loads(model.config.to_json_string(use_diff=False))
        config = _without_padding(config)
        write_packed(fresh, config, arrays, matrices)
        if tokenizer is not None:
            for name in TOKENIZER_FILES:
                if (tokenizer / name).is_file():
                    shutil.copyfile(tokenizer / name, fresh / name)
            # So that a packed student that no longer belongs to its weights is found out by
            # content.
            write_origin(fresh, source=tokenizer)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Packed(bytes_by_part=_by_part(config, arrays), fp32_bytes=4 * parameters, kept=kept)


def _kept(model: GooseForCausalLM) -> dict[str, str]:
    """Spiking places whose amplitude stays. Raises ExportError where it does at all of them."""
    spiking = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, Projection) and module.neuron is not None
    }
    for name, module in spiking.items():
        assert module.neuron is not None
        forms.spikes(module.neuron, name=name)  # refuses one that the engine cannot run
    found = {name: reason for name, module in spiking.items() if (reason := why_not(module))}
    if len(found) == len(spiking):
        first = next((f"{name}: {reason}" for name, reason in found.items()), "no input spikes")
        raise ExportError(f"absorb: no amplitude can move into the weights behind it; {first}")
    return found


@torch.no_grad()
def pack(model: GooseForCausalLM, settings: PackSettings) -> tuple[Arrays, dict[str, Entry]]:
    """Tensors and table of matrices, as `format.packed.write_packed` takes them."""
    config = _without_padding(model.config.to_dict())
    # Before anything is packed, since packing takes a minute and the answer is known.
    _check_known(model.config, config)
    arrays: Arrays = {}
    matrices: dict[str, Entry] = {}
    for slot in layout(config):
        found, entry = _slot(model, slot, settings)
        arrays |= {f"{slot.name}{end}": array for end, array in found.items()}
        if entry is not None:
            matrices[slot.name] = entry
    return arrays, matrices


def _without_padding(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration of the same student without the rows that no tokenizer produces."""
    words = config["real_vocab_size"] or config["vocab_size"]
    return config | {"vocab_size": words, "real_vocab_size": 0}


def _check_known(config: GooseConfig, settings: dict[str, Any]) -> None:
    """Raise ExportError for a setting that the engine does not take, before anything is packed."""
    if (found := fault(settings, packed=True)) is not None:
        raise ExportError(f"{found}: the engine knows nothing else; PyTorch runs this student")
    table = PrecisionTable(config.precision)
    places = [(name, table.of(name)) for name in OUTSIDE] + [
        (f"{layer}.{name}", table.of(name, layer=layer, site=True))
        for layer in range(config.num_hidden_layers)
        for name in BLOCK_SITES
    ]
    for place, precision in places:
        if precision.steps:
            raise ExportError(
                f"precision.{place}: spikes there are for training only: PyTorch runs them"
            )


def _slot(
    model: GooseForCausalLM, slot: Slot, settings: PackSettings
) -> tuple[Arrays, Entry | None]:
    """Arrays by the end of their names, and the entry where the input is coded or rotated."""
    if isinstance(slot, VectorSlot):
        return {"": forms.floats(model.get_parameter(slot.name), name=slot.name)}, None
    found, entry = (
        _site(model, slot) if isinstance(slot, SiteSlot) else _matrix(model, slot, settings)
    )
    return {f".{end}": array for end, array in found.items()}, entry


def _site(model: GooseForCausalLM, slot: SiteSlot) -> tuple[Arrays, Entry | None]:
    """Arrays and entry of a signal of a mixer, such as `blocks.3.mixer.k`."""
    mixer, _, letter = slot.name.rpartition(".")
    neuron: Neuron | None = getattr(model.get_submodule(mixer), f"{letter}_neuron")
    numbers = {} if neuron is None else forms.spikes(neuron, name=slot.name)
    if "factor" in numbers:
        raise ExportError(f"{slot.name}: the factor of its spikes has no weights to fold into")
    return forms.one(numbers), _entry(neuron, rotate=False)


def _matrix(
    model: GooseForCausalLM, slot: MatrixSlot, settings: PackSettings
) -> tuple[Arrays, Entry | None]:
    """Arrays by the end of their names, and the entry where the input is coded or rotated."""
    if slot.name == EMBEDDING:
        form = "int8" if settings.head == "ternary" else settings.head
        return forms.dense(model.embedding.weight[: slot.rows], form, name=slot.name), None
    if slot.name == POSITIONS:
        return forms.dense(model.get_parameter(f"{POSITIONS}.weight"), "f16", name=slot.name), None
    if slot.name == HEAD:
        return _head(model, settings, words=slot.rows)
    if not slot.projection:  # a low-rank factor, which PyTorch keeps as [in, out]
        return forms.dense(
            model.get_parameter(slot.name).T, settings.low_rank, name=slot.name
        ), None
    module = model.get_submodule(slot.name)
    assert isinstance(module, Projection)
    arrays = forms.projection(module, settings.dense, name=slot.name, absorb=settings.absorb)
    return arrays, _entry(module.neuron, rotate=module.precision.rotate)


def _entry(neuron: Neuron | Precision | None, *, rotate: bool) -> Entry | None:
    """What the table of matrices says of an input; None of a plain one."""
    if neuron is not None:
        return {"steps": neuron.steps, "code": neuron.code, "rotate": rotate}
    return {"steps": 0, "code": "radix3", "rotate": True} if rotate else None


def _head(
    model: GooseForCausalLM, settings: PackSettings, *, words: int
) -> tuple[Arrays, Entry | None]:
    """Arrays and entry of the head; no arrays where the embedding serves."""
    weight, as_set = model.lm_head.weight[:words], TERNARY_HEAD
    if settings.head != "ternary":
        tied = model.config.tie_word_embeddings
        return {} if tied else forms.dense(weight, settings.head, name=HEAD), None
    try:
        as_set.check_columns(weight.shape[1])
    except ValueError as error:
        raise ExportError(f"head = {settings.head!r}: {error}; take int8, int4 or f16") from error
    # In fp32, for the rotation's order of sums is the engine's only there.
    wide = torch.from_numpy(forms.floats(weight, name=HEAD))
    matrix = absmean(rotated(wide), planes=as_set.planes, group=as_set.group)
    arrays = forms.planes(matrix, name=HEAD) | forms.one({"threshold": as_set.threshold})
    return arrays, _entry(as_set, rotate=as_set.rotate)


def _by_part(config: dict[str, Any], arrays: Arrays) -> dict[str, int]:
    """Bytes of what matrices bring, by their part of the model; all else is the rest."""
    owners = parts(config)
    found: dict[str, int] = dict.fromkeys((*get_args(Part), "rest"), 0)
    for name, array in arrays.items():
        found[owners.get(name.rpartition(".")[0], "rest")] += array.nbytes
    return {part: size for part, size in found.items() if size}
