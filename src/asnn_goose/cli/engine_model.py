"""What the engine runs for a name: a packed folder, or a student that is packed on first use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from asnn_goose.cli.places import SubjectError, student_folder
from asnn_goose.format.origin import is_made_of
from asnn_goose.format.packed import is_packed, read_packed
from asnn_goose.infer.engine import Engine
from asnn_goose.infer.sampler import Sampling
from asnn_goose.infer.text import Vocabulary, read_vocabulary


@dataclass(frozen=True, kw_only=True)
class EngineModel:
    """A model on the engine, with its text side; a `writing.Source`."""

    folder: Path
    engine: Engine
    vocabulary: Vocabulary

    def draw(
        self, ids: Sequence[int], *, tokens: int, sampling: Sampling, seed: int | None
    ) -> Iterator[int]:
        """Up to `tokens` tokens that continue `ids`."""
        state = self.engine.start()
        return self.engine.generate(state, ids, sampling=sampling, limit=tokens, seed=seed)


def load_engine(name_or_path: str, *, threads: int | None = None) -> EngineModel:
    """A packed folder, a run's student or a student's folder on the engine.

    Raises SubjectError for anything else, EngineError without a compiled engine, PackedError and
    TextError for damaged files.
    """
    folder = packed_folder(name_or_path)
    model = read_packed(folder)
    return EngineModel(
        folder=folder,
        engine=Engine(model, threads=threads),
        vocabulary=read_vocabulary(folder, model.config),
    )


def packed_folder(name_or_path: str) -> Path:
    """The packed form of a student; made beside it where there is none, or only one of others."""
    source = student_folder(name_or_path)
    if source is None:
        raise SubjectError(
            f"{name_or_path!r} is no student: the engine runs a packed folder, a run folder or a"
            " student's folder; a teacher runs with asnn-goose generate --engine torch"
        )
    if is_packed(source):
        return source
    target = Path(name_or_path).expanduser() / "packed"
    if not is_fresh(target, source):
        _pack(source, target)
    return target


def is_fresh(target: Path, source: Path) -> bool:
    """Whether a packed model is there that was made of these very files, whatever their times."""
    return is_packed(target) and is_made_of(target, source=source)


def _pack(source: Path, target: Path) -> None:
    """Needs torch, this once."""
    if not (source / "tokenizer.json").is_file():
        raise SubjectError(f"{source} has no tokenizer.json: save the student's tokenizer there")
    typer.echo(f"packing {source} into {target}; done once, until its weights change", err=True)
    from asnn_goose.cli.subject import hush
    from asnn_goose.export.packed import export_packed
    from asnn_goose.model import GooseForCausalLM

    hush()
    student: GooseForCausalLM = GooseForCausalLM.from_pretrained(source)
    export_packed(student, target, tokenizer=source)
