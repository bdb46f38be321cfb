"""What makes a model this one: a hash of its settings and of every weight."""

from __future__ import annotations

import hashlib
import json

import torch
from transformers import PreTrainedModel

_ORIGIN = ("transformers_version", "_name_or_path", "architectures", "dtype", "torch_dtype")
"""Entries of a configuration that say where it came from, not what the model computes."""


def fingerprint(model: PreTrainedModel) -> str:
    """The same for the same function, wherever the files lie; the types of the weights count."""
    settings = {k: v for k, v in model.config.to_dict().items() if k not in _ORIGIN}
    found = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for name, tensor in sorted(model.state_dict().items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()[:32]
