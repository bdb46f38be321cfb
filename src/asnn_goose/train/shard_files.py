"""Tensors in parts, on the disk: torch's distributed checkpoint, in safetensors.

Every process writes its parts into a file of its own, and a reader puts them together, however
many processes it has. Nothing of it is pickled.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import (
    HuggingFaceStorageReader,
    HuggingFaceStorageWriter,
)
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.tensor import DTensor

from asnn_goose import disk


def in_parts(tensors: Mapping[str, Tensor]) -> bool:
    """Whether some of them lie in parts."""
    return any(isinstance(tensor, DTensor) for tensor in tensors.values())


@contextmanager
def shared_folder(path: Path) -> Iterator[Path]:
    """`disk.new_folder` of the first process, for all: every one must come here.

    Raises OSError on all of them where it cannot be made.
    """
    with ExitStack() as stack:
        named: list[Path | None] = [None]
        trouble: OSError | None = None
        if dist.get_rank() == 0:
            try:
                named = [stack.enter_context(disk.new_folder(path))]
            except OSError as error:
                trouble = error
        # Said even where it failed: the others wait for a name.
        dist.broadcast_object_list(named, 0)
        if named[0] is None:
            raise OSError(str(trouble or "the first process cannot make it")) from trouble
        yield named[0]


def write(folder: Path, tensors: Mapping[str, Tensor]) -> bool:
    """Write all parts into a folder; every process calls it, and what is whole is the first's.

    True in the first process. Raises OSError on all processes where one of them cannot write.
    """
    first = dist.get_rank() == 0
    own = {name: x for name, x in tensors.items() if first or isinstance(x, DTensor)}
    try:
        save(own, storage_writer=HuggingFaceStorageWriter(str(folder), save_distributed=True))
    except CheckpointException as error:
        raise OSError(_cause(error)) from error
    return first


def _cause(error: CheckpointException) -> str:
    """The first failure of all processes, without the traceback that torch adds to it."""
    failures = [failure[0] for failure in error.failures.values()]
    return str(failures[0]) if failures else "torch does not say why"


def read(folder: Path) -> dict[str, Tensor]:
    """Every tensor whole, in one process on its own."""
    reader = HuggingFaceStorageReader(str(folder))
    known = reader.read_metadata().state_dict_metadata
    found = {
        name: torch.empty(entry.size, dtype=entry.properties.dtype)
        for name, entry in known.items()
        if isinstance(entry, TensorStorageMetadata)
    }
    with warnings.catch_warnings():
        # That it reads as one process, which is what is wanted.
        warnings.simplefilter("ignore", UserWarning)
        load(found, storage_reader=reader, no_dist=True)
    return found
