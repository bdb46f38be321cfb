"""Built-in instruction sets: documents of the corpora turned into questions and their answers.

No package with clear rights carries instructions, so they are made of texts that have a licence;
the answers are the documents' own words, the questions are ours. Splits are those of the corpus:
what is held out of a text is held out of its instructions too.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from asnn_goose.data.corpora import CORPORA, documents
from asnn_goose.data.document import Document, Split
from asnn_goose.data.records import Record

Asked = Iterator[tuple[str, str]]
"""What a question is about, and its answer."""

TALK = 8
"""Turns of a conversation that are one example; a longer one gives several."""

_TURN = re.compile(r"^([A-Z]): ", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Instructions:
    """A set of questions and answers.

    name       what recipes call it
    corpus     whose documents it is made of, and whose licence it has
    questions  forms of a question, of which the subject's hash chooses one
    read       subjects and answers of a document; none where `questions` is empty
    about      a line for `asnn-goose data show`
    """

    name: str
    corpus: str
    about: str
    questions: tuple[str, ...] = ()
    read: Callable[[Document], Asked] | None = None

    @property
    def licence(self) -> str:
        """That of the corpus."""
        return CORPORA[self.corpus].licence

    def records(self, split: Split) -> Iterator[tuple[str, Record]]:
        """(place, record) of a split; raises what `documents` raises."""
        for document in documents(self.corpus, split):
            place = f"{self.name}, {document.id}"
            yield from ((place, record) for record in self._of(document))

    def _of(self, document: Document) -> Iterator[Record]:
        if self.read is None:
            messages = _talk(document.text)
            # A template renders what comes before every answer anew: long talk costs its square.
            for start in range(0, len(messages), TALK):
                yield {"messages": messages[start : start + TALK]}
            return
        for subject, answer in self.read(document):
            form = self.questions[number_of(subject, len(self.questions))]
            yield {
                "prompt": [{"role": "user", "content": form.format(subject)}],
                "completion": [{"role": "assistant", "content": answer}],
            }


def number_of(text: str, count: int) -> int:
    """A number below `count` that a text's hash gives, the same on every machine."""
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:8], "big") % count


def without_template(record: Record) -> Record:
    """A record of one question as text, for a tokenizer that has no chat template."""
    if isinstance(record.get("prompt"), list):
        texts = {key: messages[-1]["content"] for key, messages in record.items()}
        return texts | {"prompt": texts["prompt"] + "\n\n"}
    return record


def _titled(document: Document) -> Asked:
    """The title, and all that stands below it."""
    title, _, text = document.text.partition("\n\n")
    if text.strip():
        yield title, text.strip()


def _fields(document: Document) -> Asked:
    """A country's fields, each asked for by its name."""
    country, *fields = document.text.split("\n\n")
    for field in fields:
        name, _, value = field.partition(": ")
        if value.strip():
            yield f"{country} ({name})", value.strip()


def _talk(text: str) -> list[dict[str, str]]:
    """A conversation of two, from the first turn of A to the last of B."""
    _, *parts = _TURN.split(text)
    turns = [(name, said.strip()) for name, said in zip(parts[::2], parts[1::2], strict=True)]
    while turns and turns[0][0] != "A":
        turns = turns[1:]
    while turns and turns[-1][0] != "B":
        turns = turns[:-1]
    roles = {"A": "user", "B": "assistant"}
    if any(name not in roles or not said for name, said in turns):
        return []
    return [{"role": roles[name], "content": said} for name, said in turns]


INSTRUCTIONS: dict[str, Instructions] = {
    one.name: one
    for one in (
        Instructions(
            name="ask_wiki",
            corpus="wiki_vital",
            about="articles asked for by their titles",
            questions=(
                "Tell me about {}.",
                "What can you say about {}?",
                "Write a short article about {}.",
            ),
            read=_titled,
        ),
        Instructions(
            name="ask_foldoc",
            corpus="foldoc",
            about="terms of computing asked for by name",
            questions=("What does {} mean in computing?", "Explain the computing term {}."),
            read=_titled,
        ),
        Instructions(
            name="ask_factbook",
            corpus="factbook",
            about="fields of a country's page asked for by name",
            questions=("Describe {}.", "What does the World Factbook say about {}?"),
            read=_fields,
        ),
        Instructions(
            name="ask_recipes",
            corpus="recipes",
            about="recipes asked for by their titles",
            questions=("How do I make {}?", "Give me a recipe for {}."),
            read=_titled,
        ),
        Instructions(
            name="talk_chitchat",
            corpus="chitchat",
            about="conversations, in which the second speaker is the assistant",
        ),
    )
}
