"""Hooks by which a teacher's inside is kept while it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

Keep = Callable[[Any], Tensor]
"""What is kept of a module's output."""


def first(output: Any) -> Tensor:
    """The tensor itself, or the first of a tuple."""
    tensor: Tensor = output[0] if isinstance(output, tuple) else output
    return tensor


def keep_output(kept: list[Tensor], keep: Keep) -> Any:
    """A forward hook that appends what `keep` takes of an output."""

    def hook(module: nn.Module, args: Any, output: Any) -> None:
        # Nothing is detached here: the caller runs teachers without gradients, and a student may be
        # watched with them.
        kept.append(keep(output))

    return hook


def keep_input(kept: list[Tensor], keep: Keep = first) -> Any:
    """A forward pre-hook that appends what `keep` takes of the inputs, else the first."""

    def hook(module: nn.Module, args: Any) -> None:
        kept.append(keep(args))

    return hook
