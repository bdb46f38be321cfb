"""Students ready to be served: each with an engine, its texts and the states that it keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from asnn_goose import disk
from asnn_goose.eval.served_costs import serving_costs
from asnn_goose.infer.backend import Memory
from asnn_goose.infer.chat_template import read_chat_template
from asnn_goose.infer.server.settings import Limits
from asnn_goose.infer.server.state_folder import StateFolder
from asnn_goose.infer.server.state_store import StateStore
from asnn_goose.infer.server.student import Student
from asnn_goose.places import SubjectError
from asnn_goose.subject.engine_model import Tell, load_engine


@dataclass(frozen=True, kw_only=True)
class Options:
    """Settings of serving that are for the students."""

    names: Sequence[str]
    cache_memory: int
    cache_folder: Path | None
    cache_disk: int
    kv_heads: int | None
    threads: int | None
    states: Memory = "f32"


def load_students(
    paths: Sequence[str], options: Options, limits: Limits, *, tell: Tell
) -> list[Student]:
    """The students, each with an engine of its own."""
    names = list(options.names) + [default_name(path) for path in paths[len(options.names) :]]
    if len(names) > len(paths):
        raise SubjectError(f"{len(names)} names for {len(paths)} students: give one each at most")
    # A request names its student: two of one name could not be told apart.
    if len(set(names)) < len(names):
        raise SubjectError(f"two students are called {', '.join(names)}: name each")
    if options.cache_folder:
        disk.check_folder(options.cache_folder.expanduser())
    return [
        load_student(path, name, options, limits, tell=tell)
        for path, name in zip(paths, names, strict=True)
    ]


def load_student(path: str, name: str, options: Options, limits: Limits, *, tell: Tell) -> Student:
    """One student, ready to serve."""
    loaded = load_engine(path, threads=options.threads, states=options.states, tell=tell)
    root = options.cache_folder
    folder = (
        StateFolder(root.expanduser(), loaded.engine, limit=options.cache_disk) if root else None
    )
    return Student(
        name,
        loaded.engine,
        loaded.vocabulary,
        template=read_chat_template(loaded.folder),
        store=StateStore(loaded.engine, memory=options.cache_memory, folder=folder),
        limits=limits,
        costs=serving_costs(loaded.engine.model, kv_heads=options.kv_heads),
    )


def default_name(path: str) -> str:
    """What a student is called after: its folder, or what holds a folder called packed or model."""
    folder = Path(path).expanduser().resolve()
    return folder.parent.name if folder.name in {"packed", "model"} else folder.name
