"""From a name to a reader, in PyTorch or on the engine."""

from __future__ import annotations

from collections.abc import Callable

from asnn_goose.eval.readers.reader import Reader
from asnn_goose.names import check_name
from asnn_goose.places import student_folder
from asnn_goose.subject.source import ENGINES


def reader_of(
    name_or_path: str,
    *,
    engine: str | None = None,
    threads: int | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Reader:
    """The model on what runs it; without a wish students run on the engine, teachers in PyTorch.

    Raises what `load_engine` and `load_torch` raise, and ValueError for another engine.
    """
    if engine is None:
        engine = "torch" if student_folder(name_or_path) is None else "native"
    check_name(ENGINES, engine, setting="engine")
    if engine == "native":
        return engine_reader(name_or_path, threads=threads, tell=tell)
    return torch_reader(name_or_path)


def torch_reader(name_or_path: str) -> Reader:
    """In PyTorch."""
    from asnn_goose.eval.readers.torch_reader import TorchReader
    from asnn_goose.subject.torch_model import load_torch

    loaded = load_torch(name_or_path)
    return TorchReader(loaded.model, loaded.trace, loaded.vocabulary, name=name_or_path)


def engine_reader(
    name_or_path: str,
    *,
    threads: int | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Reader:
    """On the engine."""
    from asnn_goose.eval.readers.engine_reader import EngineReader
    from asnn_goose.subject.engine_model import load_engine

    loaded = load_engine(name_or_path, threads=threads, tell=tell)
    return EngineReader(loaded.engine, loaded.vocabulary, name=name_or_path)
