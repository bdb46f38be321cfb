"""Does an instruct model do as it is told? Instructions that are checked without a judge.

In the manner of IFEval (Zhou et al. 2023, arXiv 2311.07911), with instructions of our own that a
small model can be expected to follow: a format, a word, a length.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from asnn_goose.chat_template import ChatTemplate
from asnn_goose.eval.generation import drawn_after, repeated
from asnn_goose.eval.readers.reader import Reader
from asnn_goose.eval.tasks.task_scores import standard_error

TOPICS = ("rivers", "bread", "trains", "winter", "music", "the moon")

ANSWER = 128
"""Tokens of an answer at most."""

Check = Callable[[str], bool]


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


INSTRUCTIONS: Mapping[str, tuple[str, Check]] = MappingProxyType(
    {
        "list": (
            "Write a list of exactly three words about {}. Put each on a line of its own that"
            " begins with a dash.",
            lambda text: len(_lines(text)) == 3 and all(line[0] == "-" for line in _lines(text)),
        ),
        "numbered": (
            "Name three facts about {}, numbered 1., 2. and 3.",
            lambda text: all(re.search(rf"^\s*{n}\.", text, re.MULTILINE) for n in (1, 2, 3)),
        ),
        "capitals": (
            "Write one sentence about {} in CAPITAL LETTERS only.",
            lambda text: text.isupper(),
        ),
        "word": (
            "Say in one single word what you think of {}.",
            lambda text: len(text.split()) == 1,
        ),
        "short": (
            "Write about {} in fewer than twenty words.",
            lambda text: 0 < len(text.split()) < 20,
        ),
        "json": (
            'Answer with JSON only: an object with the key "topic" whose value is "{}".',
            _is_json,
        ),
        "ending": (
            "Write a sentence about {} and end your answer with the word DONE.",
            lambda text: text.rstrip(" .!\n").endswith("DONE"),
        ),
        "question": (
            "Ask me one question about {}. Write nothing else.",
            lambda text: text.strip().endswith("?") and text.count("?") == 1,
        ),
    }
)
"""Name -> the instruction, with a place for a topic, and what an answer must satisfy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Obedience:
    """Of all answers.

    followed  share that did as told, with its standard error; by_kind the same by instruction
    stopped   share that ended by themselves before ANSWER tokens
    length    mean tokens of an answer
    repeated  share of its 4-grams that stood in the answer before
    """

    followed: float
    error: float
    by_kind: dict[str, float]
    stopped: float
    length: float
    repeated: float


def obey(
    reader: Reader, template: ChatTemplate, *, advance: Callable[[int], None] = lambda done: None
) -> Obedience:
    """Answers to every instruction on every topic, greedy, as the chat template puts them."""
    asked = list(_asked())
    prompts = [
        reader.vocabulary.ids(template.render([{"role": "user", "content": said}]))
        for _, said in asked
    ]
    drawn = drawn_after(reader, prompts, limit=ANSWER, advance=advance)
    texts = [
        "".join(reader.vocabulary.pieces(prompt, tokens))
        for prompt, tokens in zip(prompts, drawn, strict=True)
    ]
    return judged([kind for kind, _ in asked], texts, drawn)


def asked_in_all() -> int:
    """How many answers `obey` draws."""
    return len(INSTRUCTIONS) * len(TOPICS)


def _asked() -> Iterator[tuple[str, str]]:
    for kind, (said, _) in INSTRUCTIONS.items():
        for topic in TOPICS:
            # Not format(): an instruction may hold braces of its own.
            yield kind, said.replace("{}", topic)


def judged(kinds: Sequence[str], texts: Sequence[str], drawn: Sequence[Sequence[int]]) -> Obedience:
    """What answers of these kinds are worth."""
    followed = np.array(
        [INSTRUCTIONS[kind][1](text.strip()) for kind, text in zip(kinds, texts, strict=True)],
        np.float64,
    )
    of_kind = {
        kind: float(followed[[name == kind for name in kinds]].mean())
        for kind in dict.fromkeys(kinds)
    }
    return Obedience(
        followed=float(followed.mean()),
        error=standard_error(followed),
        by_kind=of_kind,
        stopped=float(np.mean([len(tokens) < ANSWER for tokens in drawn])),
        length=float(np.mean([len(tokens) for tokens in drawn])),
        repeated=repeated(drawn, 4),
    )
