"""The frozen reference of preferences: what a stage's student gave to every answer at its start.

The numbers are two a pair, so they are computed once and kept: in the cache, under a fingerprint of
all that decides them, and in every checkpoint of the stage, for then the start is gone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from accelerate import Accelerator
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from asnn_goose.data.example_sets import fingerprint
from asnn_goose.data.pair_batches import PairLoader
from asnn_goose.sources import cache_dir, new_folder
from asnn_goose.train.run_errors import CheckpointError
from asnn_goose.train.stages.dpo import Dpo

FORMAT = 1
"""Goes into every fingerprint: raise it when an answer's log-probability becomes another."""

_FILE = "log_probs.safetensors"


class Reference:
    """What the student gives to the answers of some loaders before its stage trains it.

    batch      pairs that are scored at a time
    precision  "fp32", or "bf16" for autocast, as in training
    """

    def __init__(self, loaders: Sequence[PairLoader], *, batch: int, precision: str) -> None:
        self._loaders, self._batch, self._precision = loaders, batch, precision

    @property
    def known(self) -> bool:
        """Whether every loader has its numbers."""
        return all(loader.reference_N2 is not None for loader in self._loaders)

    def prepare(
        self, stage: nn.Module, *, accelerator: Accelerator, tell: Callable[[str], None]
    ) -> None:
        """Find the numbers before the first step of a stage, unless they are known."""
        if not self.known:
            self.find(cast(Dpo, stage), accelerator=accelerator, tell=tell)

    def find(self, stage: Dpo, *, accelerator: Accelerator, tell: Callable[[str], None]) -> None:
        """Give the loaders their numbers, from the cache or from the student as it is now."""
        pairs = sum(len(loader.pairs) for loader in self._loaders)
        name = self._fingerprint(stage.student)
        file = cache_dir() / "references" / name / _FILE
        with accelerator.main_process_first():
            found = self._read(file)
            if found is None:
                tell(f"scoring {pairs} pairs of answers with the student as it is: the reference")
                found = self._scored(stage, accelerator.device)
                with new_folder(file.parent, replace=True) as fresh:
                    save_file(found, fresh / _FILE)
            else:
                tell(f"the reference of {pairs} pairs of answers is in the cache ({name})")
        self.restore(found)

    def tensors(self) -> dict[str, Tensor]:
        """The numbers by loader; none before they are known."""
        if not self.known:
            return {}
        return {f"{n}": cast(Tensor, one.reference_N2) for n, one in enumerate(self._loaders)}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what `tensors` gave. Raises CheckpointError where it is of other pairs."""
        for number, loader in enumerate(self._loaders):
            found = tensors.get(f"{number}")
            if found is None or found.shape != (len(loader.pairs), 2):
                raise CheckpointError(
                    f"the reference is not that of {len(loader.pairs)} pairs: begin the run anew"
                )
            loader.reference_N2 = found

    def _read(self, file: Any) -> dict[str, Tensor] | None:
        """The numbers in the cache, or None where they are not there whole."""
        try:
            found = load_file(file)
        except (OSError, SafetensorError):
            return None
        sizes = {f"{n}": (len(loader.pairs), 2) for n, loader in enumerate(self._loaders)}
        return found if {n: tuple(x.shape) for n, x in found.items()} == sizes else None

    def _scored(self, stage: Dpo, device: torch.device) -> dict[str, Tensor]:
        stage.to(device).eval()
        bf16 = self._precision == "bf16"
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            found = {f"{n}": self._of(stage, one, device) for n, one in enumerate(self._loaders)}
        stage.train()
        return found

    def _of(self, stage: Dpo, loader: PairLoader, device: torch.device) -> Tensor:
        """(N,2) on the CPU. Pairs of like length go together: the longest makes the rows."""
        lengths = [max(len(pair.chosen), len(pair.rejected)) for pair in loader.pairs]
        order = sorted(range(len(lengths)), key=lengths.__getitem__)
        found_N2 = torch.empty(len(order), 2)
        for start in range(0, len(order), self._batch):
            numbers = order[start : start + self._batch]
            batch = loader.batch_of(numbers, 0.0).to(device)
            found_N2[numbers] = stage.log_probs(batch).float().cpu()
        return found_N2

    def _fingerprint(self, student: nn.Module) -> str:
        """Hash of the student's weights and settings, of the pairs, and of the number format."""
        digest = hashlib.sha256(f"{FORMAT}/{self._precision}".encode())
        config = getattr(student, "config", None)
        digest.update(json.dumps(getattr(config, "precision", None), sort_keys=True).encode())
        for name, tensor in student.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
        for loader in self._loaders:
            sides = (side for pair in loader.pairs for side in (pair.chosen, pair.rejected))
            digest.update(fingerprint(sides).encode())
        return digest.hexdigest()[:32]
