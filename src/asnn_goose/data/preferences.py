"""Built-in preferences: the answer of an instruction set against the same answer spoilt.

What they teach is exactly what is written here, and no judgement of people: that an answer belongs
to its question, that its words come in order, and that it goes on instead of going round.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from asnn_goose.data.document import DataError
from asnn_goose.data.instructions import number_of
from asnn_goose.data.records import Record

KINDS = ("another's", "shuffled", "circular")
"""How an answer is spoilt; the question's hash chooses.

another's  the answer of the question before
shuffled   its own words in any order
circular   its first twelve words again and again, as long as it is
"""

CIRCLE = 12
"""Words of a circle."""


def spoilt(records: Iterable[tuple[str, Record]]) -> Iterator[tuple[str, Record]]:
    """Pairs (prompt, chosen, rejected) out of questions and answers (prompt, completion).

    An answer of one word, and the first one where another's is wanted, gives no pair. Raises
    DataError for conversations.
    """
    before = ""
    for place, record in records:
        if "completion" not in record:
            raise DataError(f"{place}: a conversation has no one answer to spoil: take questions")
        answer = record["completion"][-1]["content"]
        worse = _spoilt(answer, before, question=record["prompt"][-1]["content"])
        before = answer
        if worse and worse != answer:
            rejected = [{"role": "assistant", "content": worse}]
            pair = {"prompt": record["prompt"], "chosen": record["completion"]}
            yield place, pair | {"rejected": rejected}


def _spoilt(answer: str, before: str, *, question: str) -> str:
    words = answer.split()
    kind = KINDS[number_of(question, len(KINDS))]
    if kind == "another's":
        return before
    if kind == "circular":
        circle = words[:CIRCLE]
        return " ".join(circle[n % len(circle)] for n in range(len(words))) if circle else ""
    random = np.random.default_rng(number_of(answer, 2**32))
    return " ".join(words[n] for n in random.permutation(len(words)))
