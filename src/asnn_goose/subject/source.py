"""A name and a prompt in, text out, whatever runs the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import takewhile
from typing import Protocol

from asnn_goose.infer.sampler import Sampling
from asnn_goose.infer.text import Vocabulary
from asnn_goose.names import check_name
from asnn_goose.places import student_folder

ENGINES = ("native", "torch")


class TokenSource(Protocol):
    """Whatever draws tokens: the engine, or a model in PyTorch."""

    @property
    def vocabulary(self) -> Vocabulary:
        """Text to tokens and back."""

    def draw(
        self, ids: Sequence[int], *, tokens: int, sampling: Sampling, seed: int | None
    ) -> Iterator[int]:
        """Up to `tokens` tokens that continue `ids`, which are at least one."""


def source_of(
    name_or_path: str,
    *,
    engine: str | None = None,
    threads: int | None = None,
    draft: str | None = None,
    draft_tokens: int = 1,
    tell: Callable[[str], None],
) -> TokenSource:
    """The model on what runs it; without a wish students run on the engine, teachers in PyTorch.

    draft  whoever proposes tokens for a student on the engine (`engine_model.drafting_of`)

    PyTorch is imported only where it is needed. Raises ValueError for an engine that there is not,
    SubjectError for no model, and what the engine or the teacher's loading raises.
    """
    if engine is None:
        engine = "torch" if student_folder(name_or_path) is None else "native"
    check_name(ENGINES, engine, setting="engine")
    # Imported late: the engine starts in a fraction of the time that torch takes to load.
    if engine == "native":
        from asnn_goose.subject.engine_model import load_engine

        return load_engine(
            name_or_path, threads=threads, draft=draft, draft_tokens=draft_tokens, tell=tell
        )
    if draft is not None:
        raise ValueError(f"draft = {draft!r}: only students on the engine are drafted for")
    from asnn_goose.subject.torch_model import load_torch

    return load_torch(name_or_path)


class Continuation:
    """Pieces of text that continue a prompt, as they come; `count` tokens were drawn so far.

    An empty prompt begins as the model does. With `stop` the text ends where the model ends a
    document; it always ends before one of `stops`.
    """

    def __init__(
        self,
        source: TokenSource,
        prompt: str,
        *,
        tokens: int,
        sampling: Sampling,
        seed: int | None = None,
        stop: bool = True,
        stops: Sequence[str] = (),
    ) -> None:
        vocabulary, self.count = source.vocabulary, 0
        ids = vocabulary.prompt_ids(prompt)
        drawn = source.draw(ids, tokens=tokens, sampling=sampling, seed=seed)
        if stop:
            drawn = takewhile(lambda token: token not in vocabulary.ends, drawn)
        # Counted before stop strings cut the text: what was drawn has been paid for.
        self._pieces = vocabulary.until_stop(ids, self._counted(drawn), stops)

    def __iter__(self) -> Iterator[str]:
        return self._pieces

    def _counted(self, drawn: Iterator[int]) -> Iterator[int]:
        for token in drawn:
            self.count += 1
            yield token
