"""What the engine runs for a name: a packed folder, or a student that is packed on first use."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from asnn_goose import disk
from asnn_goose.format.origin import is_made_of
from asnn_goose.format.packed import is_packed, read_packed
from asnn_goose.infer import speculation
from asnn_goose.infer.backend import Memory
from asnn_goose.infer.drafts import TOKENS as DRAFT_TOKENS
from asnn_goose.infer.drafts import Drafting, TextDraft, fewer_steps_draft, student_draft
from asnn_goose.infer.engine import Engine
from asnn_goose.infer.sampler import Sampling
from asnn_goose.infer.text import Vocabulary, read_vocabulary
from asnn_goose.places import SubjectError, student_folder

Tell = Callable[[str], None]
"""Is told in a sentence what takes its time."""


def _nobody(text: str) -> None:
    """Say nothing."""


@dataclass(frozen=True, kw_only=True)
class EngineModel:
    """A model on the engine, with its text side, and what drafts for it if anything does."""

    folder: Path
    engine: Engine
    vocabulary: Vocabulary
    drafting: Drafting | None = None

    def draw(
        self, ids: Sequence[int], *, tokens: int, sampling: Sampling, seed: int | None
    ) -> Iterator[int]:
        """Up to `tokens` tokens that continue `ids`, which are at least one."""
        state = self.engine.start()
        if self.drafting is None:
            return self.engine.generate(state, ids, sampling=sampling, limit=tokens, seed=seed)
        return speculation.generate(
            self.engine,
            state,
            ids,
            drafting=self.drafting,
            sampling=sampling,
            limit=tokens,
            seed=seed,
        )


def load_engine(
    name_or_path: str,
    *,
    threads: int | None = None,
    states: Memory = "f32",
    draft: str | None = None,
    draft_tokens: int = DRAFT_TOKENS,
    tell: Tell = _nobody,
) -> EngineModel:
    """A packed folder, a run's student or a student's folder on the engine.

    states  what their matrices are kept in, as `Engine` takes it
    draft   as `drafting_of` takes it

    Raises SubjectError for anything else, EngineError without a compiled engine, PackedError and
    TextError for damaged files.
    """
    folder = packed_folder(name_or_path, tell=tell)
    model = read_packed(folder)
    engine = Engine(model, threads=threads, states=states)
    drafting: Drafting | None = None
    if draft is not None:
        drafting = drafting_of(draft, engine, tokens=draft_tokens, tell=tell)
    return EngineModel(
        folder=folder,
        engine=engine,
        vocabulary=read_vocabulary(folder, model.config),
        drafting=drafting,
    )


def drafting_of(draft: str, engine: Engine, *, tokens: int, tell: Tell = _nobody) -> Drafting:
    """A draft by its name: "text", steps of the student itself, or another student.

    Raises EngineError where it does not fit, and what `load_engine` raises.
    """
    if draft == "text":
        return Drafting(TextDraft(), tokens=tokens)
    if draft.isdecimal():
        return Drafting(fewer_steps_draft(engine, int(draft)), tokens=tokens)
    other = Engine(read_packed(packed_folder(draft, tell=tell)), threads=engine.threads)
    return Drafting(student_draft(engine, other), tokens=tokens)


def packed_folder(name_or_path: str, *, tell: Tell = _nobody) -> Path:
    """The packed form of a student; made beside it where there is none, or only one of others."""
    source = student_folder(name_or_path)
    if source is None:
        raise SubjectError(
            f"{name_or_path!r} is no student: the engine runs a packed folder, a run folder or a"
            " student's folder; asnn-goose generate --engine torch runs a teacher in PyTorch"
        )
    if is_packed(source):
        return source
    target = Path(name_or_path).expanduser() / "packed"
    # By content and not by age: copied and restored folders have times that say nothing.
    if not (is_packed(target) and is_made_of(target, source=source)):
        _check_room(name_or_path, target)
        tell(f"packing {source} into {target}; done once, until its weights change")
        _pack(name_or_path, target)
    return target


def _check_room(name_or_path: str, target: Path) -> None:
    """Refuse a place that cannot be written, before the student is loaded."""
    try:
        disk.check_folder(target.parent)
    except OSError as error:
        raise SubjectError(
            f"{target} cannot be written ({error.strerror}): export {name_or_path} in packed form"
            " to another folder, and give that folder"
        ) from error


def _pack(name_or_path: str, target: Path) -> None:
    """Needs torch, this once: without it a packed folder starts in a fraction of the time."""
    from asnn_goose.export.packed import export_packed
    from asnn_goose.subject.trained import load_trained, trained_folder

    student = load_trained(name_or_path)
    export_packed(student, target, tokenizer=trained_folder(name_or_path))
