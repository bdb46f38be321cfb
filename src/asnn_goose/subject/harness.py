"""The classes that `lm_eval --model` names, by entry point `lm_eval.models` of this package.

lm-eval 0.4.13 takes entry points but looks for none: `register` hands ours over. With it,
    python -c "from asnn_goose.subject.harness import lm_eval; lm_eval()" run --model asnn_goose ...
is lm-eval's own command line with our students.
"""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points
from typing import Any

from asnn_goose.data.chat_tokens import template_of
from asnn_goose.eval.tasks.harness import BATCH, HarnessLM
from asnn_goose.subject.readers import engine_reader, torch_reader
from asnn_goose.subject.torch_model import load_tokenizer

GROUP = "lm_eval.models"


class TorchLM(HarnessLM):
    """A run's student, a student's folder or a teacher, in PyTorch."""

    def __init__(self, pretrained: str, batch_size: int | str | None = None, **others: Any) -> None:
        check_others(others)
        super().__init__(
            torch_reader(pretrained),
            batch_size=int(batch_size or BATCH),
            template=template_of(load_tokenizer(pretrained)),
        )


class EngineLM(HarnessLM):
    """A run's student, a student's or a packed folder, on the engine."""

    def __init__(
        self,
        pretrained: str,
        batch_size: int | str | None = None,
        threads: int | None = None,
        **others: Any,
    ) -> None:
        check_others(others)
        super().__init__(
            engine_reader(pretrained, threads=threads),
            batch_size=int(batch_size or BATCH),
            template=template_of(load_tokenizer(pretrained)),
        )


def check_others(given: dict[str, Any]) -> None:
    """Refuse what lm-eval passes on and a model here does not know; what it always adds is known.

    Raises ValueError.
    """
    for name, value in given.items():
        if name == "device" and value in {None, "cpu"}:
            continue
        if name == "max_batch_size" and value is None:
            continue
        raise ValueError(f"model_args {name}={value}: give pretrained, batch_size and threads")


def register() -> list[str]:
    """Make our classes known to lm-eval in this process; their names."""
    importlib.import_module("lm_eval.models")  # its own come first
    from lm_eval.api.registry import model_registry

    ours = entry_points(group=GROUP)
    for entry in ours:
        if entry.name not in model_registry:
            model_registry.register(entry.name, target=entry)
    return sorted(entry.name for entry in ours)


def lm_eval() -> None:
    """lm-eval's command line, with our classes among its models."""
    from lm_eval.__main__ import cli_evaluate

    register()
    cli_evaluate()
