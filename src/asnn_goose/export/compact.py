"""A trained ternary student in one small file, to keep and to go on from.

Ternary codes take 1.6 bits, low-rank factors 8, and what is the teacher's own, embedding, head and
tokenizer, is left out: the file names the teacher. `restored` makes the student again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import Tensor

from asnn_goose import disk
from asnn_goose.export.forms import Arrays, ExportError, dense, floats
from asnn_goose.model import GooseConfig, GooseForCausalLM
from asnn_goose.model.parts.low_rank import LowRank
from asnn_goose.model.parts.projection import Projection
from asnn_goose.model.ternary import TernaryMethod

FORMAT = "asnn_goose_compact"
TRITS = 5
"""Ternary digits in a byte: 3^5 = 243 of 256."""

HELD = {"trits": TRITS, "weight": 1, "values": 1}
"""What holds the numbers of a tensor, and how many of them in an element."""

LEFT_OUT = ("embedding.weight", "lm_head.weight")


def write_compact(
    model: GooseForCausalLM, file: Path, *, teacher: str, embedding_VD: Tensor
) -> int:
    """Write the student, all of it or nothing, and return the bytes of its tensors.

    teacher       name that `load_teacher` knows; embedding_VD is its embedding, in the dtype in
                  which the student took it over
    Raises ExportError where the student's embedding is not the teacher's, or where the latent
    weights of a matrix say more than its planes: two planes, or a method that learns.
    """
    # To the bit: it is not written, and comes back from the teacher.
    if not torch.equal(model.embedding.weight, embedding_VD.to(model.embedding.weight.dtype)):
        raise ExportError(
            f"the embedding is not that of {teacher}: train with student.embedding = 'teacher' "
            'and train = "body"'
        )
    arrays: Arrays = {}
    for name, found in _parts(model).items():
        arrays |= {f"{name}.{end}": array for end, array in found.items()}
    metadata = {
        "format": FORMAT,
        "teacher": teacher,
        "dtype": str(embedding_VD.dtype).removeprefix("torch."),
        "config": model.config.to_json_string(use_diff=False),
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    with disk.replaced_file(file) as fresh:
        save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, fresh, metadata=metadata)
    return sum(array.nbytes for array in arrays.values())


def _parts(model: GooseForCausalLM) -> dict[str, Arrays]:
    """Every parameter and buffer that is not left out, by name, in its form."""
    found: dict[str, Arrays] = {}
    for place, module in model.named_modules():
        if isinstance(module, Projection) and module.ternary is not None:
            found[f"{place}.weight"] = _ternary(module, name=place)
        elif isinstance(module, LowRank):
            for factor in ("down", "up"):
                weight = module.get_parameter(factor).T
                found[f"{place}.{factor}"] = dense(weight, "int8", name=f"{place}.{factor}")
    for name, tensor in model.state_dict().items():  # what a neuron has measured is a buffer
        if name not in found and name not in LEFT_OUT:
            found[name] = {"values": floats(tensor, name=name)}
    return found


def _ternary(module: Projection, *, name: str) -> Arrays:
    assert module.ternary is not None  # the caller has checked
    # With two planes, or scales that are learned, the latent weights hold more than codes and
    # scales say: training could not go on from them.
    if module.ternary.planes != 1 or list(module.ternary.parameters()):
        raise ExportError(
            f"{name}: only one plane without learned scales can be kept in a compact file"
        )
    weight_OK = torch.from_numpy(floats(module.weight, name=name))
    planes = module.ternary.planes_of(weight_OK)
    found: Arrays = {
        "trits": pack_trits(planes.codes_POK[0].to(torch.int8).numpy()),
        "scale": planes.scale_PGO[0].numpy(),
    }
    if module.ternary.bias(weight_OK) is not None:
        # A bias is made of the weights in the dead zone: their mean gives the same sum.
        dead_OK = planes.codes_POK[0] == 0
        found["dead"] = ((weight_OK * dead_OK).sum(1) / dead_OK.sum(1).clamp_min(1)).numpy()
    _check_same(module.ternary, weight_OK, _latent(found, tuple(weight_OK.shape)), name=name)
    return found


def _check_same(
    method: TernaryMethod, weight_OK: Tensor, kept: NDArray[np.float32], *, name: str
) -> None:
    """Raise ExportError where the method makes something else of the weights that are kept."""
    kept_OK = torch.from_numpy(kept)
    pairs = zip(_finished(method, weight_OK), _finished(method, kept_OK), strict=True)
    if not all(torch.allclose(found, again, rtol=1e-3, atol=1e-6) for found, again in pairs):
        raise ExportError(
            f"{name}: {type(method).__name__} makes another matrix of its own codes, so that a"
            " compact file cannot hold it: keep the student's folder"
        )


def _finished(method: TernaryMethod, weight_OK: Tensor) -> tuple[Tensor, Tensor]:
    """The matrix that multiplies, and the bias."""
    bias_O = method.bias(weight_OK)
    dense_OK = method.planes_of(weight_OK).dense()
    return dense_OK, dense_OK.new_zeros(1) if bias_O is None else bias_O


def pack_trits(codes: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Codes -1, 0, 1 of any shape, five to a byte, the first one in the lowest digit."""
    flat = codes.reshape(-1).astype(np.uint8) + np.uint8(1)
    # Filled up to whole bytes with code -1, which the shape cuts off again.
    digits = np.zeros((-(-flat.size // TRITS), TRITS), np.uint8)
    digits.reshape(-1)[: flat.size] = flat
    packed: NDArray[np.uint8] = (digits * 3 ** np.arange(TRITS, dtype=np.uint8)).sum(
        1, dtype=np.uint8
    )
    return packed


def unpack_trits(packed: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.int8]:
    """What `pack_trits` was given. Raises ValueError where the length does not fit the shape."""
    count = int(np.prod(shape))
    # 243 is the first byte that five digits cannot make.
    if packed.shape != (-(-count // TRITS),) or (packed >= 3**TRITS).any():
        raise ValueError(f"{packed.size} bytes are not {count} ternary codes")
    digits = packed[:, None] // 3 ** np.arange(TRITS, dtype=np.uint8) % 3
    return (digits.reshape(-1)[:count].astype(np.int8) - 1).reshape(shape)


def compact_teacher(file: Path) -> tuple[str, torch.dtype]:
    """The teacher whose embedding and tokenizer the student needs, and the embedding's dtype."""
    found = _metadata(file)
    dtype = getattr(torch, found["dtype"], None)
    if not isinstance(dtype, torch.dtype):
        raise ExportError(f"{file}: dtype = {found['dtype']!r} in its metadata is none of torch's")
    return found["teacher"], dtype


def is_compact(file: Path) -> bool:
    """Whether a file is a compact student, sound or not."""
    try:
        return bool(_metadata(file))
    except ExportError:
        return False


def _metadata(file: Path) -> dict[str, str]:
    try:
        with safe_open(file, "np") as stored:
            found = stored.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise ExportError(f"{file} cannot be read: {error}") from error
    if found.get("format") != FORMAT or not {"teacher", "dtype", "config"} <= found.keys():
        raise ExportError(f"{file} is no compact student: its metadata say {found.get('format')!r}")
    return dict(found)


@torch.no_grad()
def restored(file: Path, *, embedding_VD: Tensor) -> GooseForCausalLM:
    """The student in a compact file, with its teacher's embedding.

    Latent weights are what their codes stand for. Raises ExportError for a file that is not one.
    """
    with torch.device("meta"):
        model = GooseForCausalLM(_config(file))
    with safe_open(file, "np") as stored:
        arrays = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    # Before there is memory for it: what a stranger's metadata tell of may be of any size.
    _check_sizes(file, model, arrays, rows=embedding_VD.shape)
    # Tied after the move: `to_empty` gives embedding and head memory of their own.
    model.to_empty(device="cpu").tie_weights()
    try:
        for name, tensor in model.state_dict().items():
            if name not in LEFT_OUT:
                tensor.copy_(torch.from_numpy(_values(arrays, name, tuple(tensor.shape))))
        for head in (model.embedding, model.lm_head):
            head.weight.copy_(embedding_VD)
        _check_known(arrays, set(model.state_dict()))
    except (KeyError, ValueError, RuntimeError) as error:
        raise ExportError(f"{file} does not hold the student its metadata tell of: {error}") from (
            error
        )
    model.train(False)
    return model


def _config(file: Path) -> GooseConfig:
    """The student's configuration. Raises ExportError where there is none."""
    text = _metadata(file)["config"]
    try:
        settings = dict(json.loads(text))
        known = GooseConfig.__dataclass_fields__
        return GooseConfig(**{key: value for key, value in settings.items() if key in known})
    except (TypeError, ValueError, RecursionError) as error:
        raise ExportError(f"{file}: the configuration in its metadata: {error}") from error


def _check_sizes(
    file: Path, model: GooseForCausalLM, arrays: Mapping[str, Any], *, rows: torch.Size
) -> None:
    """Raise ExportError where the file does not hold as many numbers as its student has."""
    for name, tensor in model.state_dict().items():
        if name in LEFT_OUT:
            fits = tensor.shape == rows
        else:
            ends = ((f"{name}.{end}", per) for end, per in HELD.items())
            held = [arrays[key].size * per for key, per in ends if key in arrays]
            fits = bool(held) and held[0] - TRITS < tensor.numel() <= held[0]
        if not fits:
            raise ExportError(
                f"{file} does not hold the student its metadata tell of: {name} is to have the "
                f"shape {tuple(tensor.shape)}"
            )


def _check_known(arrays: dict[str, Any], names: set[str]) -> None:
    """Raise ValueError for arrays of no tensor, or with numbers that are not finite."""
    for name, array in arrays.items():
        if name.rpartition(".")[0] not in names:
            raise ValueError(f"the student has no {name}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} holds numbers that are not finite")


def _values(arrays: dict[str, Any], name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """One parameter as fp32 numbers."""
    values: NDArray[Any]
    if f"{name}.trits" in arrays:
        ends = [end for end in ("trits", "scale", "dead") if f"{name}.{end}" in arrays]
        values = _latent({end: arrays[f"{name}.{end}"] for end in ends}, shape)
    elif f"{name}.scale" in arrays:
        values = (arrays[f"{name}.weight"] * arrays[f"{name}.scale"][:, None]).T
    else:
        values = arrays[f"{name}.values"]
        values = values if shape else values.reshape(())  # a file keeps no scalars
    return values.astype(np.float32)


def _latent(found: Arrays, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Weights that stand for trits, scales and, if any, the mean of a row's dead zone."""
    scale_GO, codes_OK = found["scale"], unpack_trits(found["trits"], shape)
    codes_OGC = codes_OK.reshape(shape[0], scale_GO.shape[0], -1)
    values: NDArray[Any] = (codes_OGC * scale_GO.T[:, :, None]).reshape(shape)
    if "dead" in found:
        values = np.where(codes_OK == 0, found["dead"][:, None], values)
    return values.astype(np.float32)
