"""Two token streams of one text, aligned where both have read the same bytes."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from asnn_goose.model.vocabularies.byte_vocabulary import ByteVocabulary

SILENT = -1
"""In place of a position or a span: there is none."""


@dataclass(frozen=True, kw_only=True)
class Aligned:
    """A window of the student's tokens and the tokens by which a teacher reads the same text.

    ids         the teacher's tokens
    documents   which of the student's documents each of them belongs to
    places      of each of the student's positions: the teacher's position that has read the same
                bytes, or SILENT
    spans       of each of the student's positions: the span that its next token lies in, or SILENT;
                a span begins and ends where both streams have a token's end, and holds no other
                such place
    their_spans the same of the teacher's positions
    count       number of spans
    """

    ids: list[int]
    documents: list[int]
    places: list[int]
    spans: list[int]
    their_spans: list[int]
    count: int


@dataclass
class _Streams:
    """What is known while a window is read, bytes counted from its beginning.

    `marks` are ends of the student's tokens, `theirs` of the teacher's, None for one that cannot be
    trusted; `reliable` says whether both have read the same since the last document began.
    """

    ids: list[int] = field(default_factory=list)
    documents: list[int] = field(default_factory=list)
    marks: list[int | None] = field(default_factory=list)
    theirs: list[int | None] = field(default_factory=list)
    at: int = 0
    reliable: bool = True


class Aligner:
    """Reads windows of the vocabulary `ours` in the vocabulary `theirs`.

    Text between special tokens is read anew by the other tokenizer, which must find the very bytes:
    what it changes (by Unicode normalisation, say) is not compared, nor is what follows it in its
    document. Of special tokens those of one role (the end of a text, its beginning) or one name are
    the same.
    """

    def __init__(self, ours: ByteVocabulary, theirs: ByteVocabulary) -> None:
        self.ours, self.theirs = ours, theirs
        self._twins = _twins(ours, theirs)
        their_end = theirs.tokenizer.eos_token_id
        self._separator = None if their_end is None else int(their_end)
        ends = (ours.tokenizer.eos_token_id, ours.tokenizer.bos_token_id)
        self._starters = frozenset(token for token in ends if token is not None)

    def align(self, ids: Sequence[int], documents: Sequence[int] | None = None) -> Aligned:
        """Align a window; `documents` gives the document of every token, one for all if None."""
        numbers = [0] * len(ids) if documents is None else list(documents)
        streams = _Streams()
        begin = 0
        for place in range(len(ids) + 1):
            ends = place == len(ids) or ids[place] in self.ours.special
            apart = begin < place < len(ids) and numbers[place] != numbers[begin]
            if not (ends or apart):
                continue
            # A space that the other tokenizer puts in front itself would come twice.
            strip = begin > 0 or bool(self.theirs.prefix)
            self._text(streams, ids[begin:place], numbers[begin:place], strip=strip)
            begin = place
            streams.reliable = streams.reliable or apart
            if ends and place < len(ids):
                self._special(streams, ids[place], numbers[place])
                begin = place + 1
        return _joined(streams)

    def _special(self, streams: _Streams, token: int, document: int) -> None:
        """A special token counts one byte in both streams."""
        twin = self._twins.get(token)
        streams.at += 1
        if token in self._starters:
            streams.reliable = True
        other = twin if twin is not None else self._separator
        known = twin is not None and streams.reliable
        streams.marks.append(streams.at if known else None)
        if other is not None:
            streams.ids.append(other)
            streams.documents.append(document)
            streams.theirs.append(streams.at if known else None)

    def _text(
        self, streams: _Streams, ids: Sequence[int], documents: Sequence[int], *, strip: bool
    ) -> None:
        """The tokens of one document between special ones."""
        if not ids:
            return
        raw = self.ours.bytes_of(ids)
        skipped = len(self.ours.prefix) if strip and raw.startswith(self.ours.prefix) else 0
        text, lead, tail = _characters(raw[skipped:])
        read = self.theirs.read(text or "")
        streams.reliable = streams.reliable and text is not None and read.ends is not None
        start, end = streams.at, 0
        for token in ids:
            end += len(self.ours.piece(token))
            streams.marks.append(start + max(0, end - skipped) if streams.reliable else None)
        for number, token in enumerate(read.ids):
            streams.ids.append(token)
            streams.documents.append(documents[0])
            good = streams.reliable and read.ends is not None
            mark = start + lead + read.ends[number] if good and read.ends is not None else None
            streams.theirs.append(mark)
        streams.at = start + max(0, end - skipped)
        streams.reliable = streams.reliable and not tail


def _characters(raw: bytes) -> tuple[str | None, int, int]:
    """The whole characters of a piece of UTF-8, and the bytes cut off before and behind them.

    None for the text where it holds bytes that are no UTF-8.
    """
    lead = 0
    while lead < min(3, len(raw)) and raw[lead] & 0xC0 == 0x80:
        lead += 1
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        text = decoder.decode(raw[lead:])
    except UnicodeDecodeError:
        return None, lead, 0
    return text, lead, len(decoder.getstate()[0])


def _twins(ours: ByteVocabulary, theirs: ByteVocabulary) -> dict[int, int]:
    """Special tokens of ours, and what theirs has in their place."""
    found: dict[int, int] = {}
    vocabulary = theirs.tokenizer.get_vocab()
    for token in ours.special:
        name = ours.tokenizer.convert_ids_to_tokens(token)
        if isinstance(name, str) and vocabulary.get(name) in theirs.special:
            found[token] = vocabulary[name]
    for role in ("bos_token_id", "eos_token_id"):
        token, twin = getattr(ours.tokenizer, role), getattr(theirs.tokenizer, role)
        if token is not None and twin is not None:
            found[int(token)] = int(twin)
    return found


def _joined(streams: _Streams) -> Aligned:
    """Positions and spans of two streams by the bytes that their tokens end at."""
    ours, theirs = _last(streams.marks), _last(streams.theirs)
    common = sorted(ours.keys() & theirs.keys())
    places = [SILENT] * len(streams.marks)
    spans, their_spans = list(places), [SILENT] * len(streams.ids)
    for mark in common:
        places[ours[mark]] = theirs[mark]
    count = 0
    for before, after in pairwise(common):
        between = [
            *streams.marks[ours[before] + 1 : ours[after]],
            *streams.theirs[theirs[before] + 1 : theirs[after]],
        ]
        if None in between:  # what cannot be compared lies in it
            continue
        spans[ours[before] : ours[after]] = [count] * (ours[after] - ours[before])
        their_spans[theirs[before] : theirs[after]] = [count] * (theirs[after] - theirs[before])
        count += 1
    return Aligned(
        ids=streams.ids,
        documents=streams.documents,
        places=places,
        spans=spans,
        their_spans=their_spans,
        count=count,
    )


def _last(marks: Sequence[int | None]) -> dict[int, int]:
    """The last token that ends at each byte: one without bytes has read no less."""
    return {mark: place for place, mark in enumerate(marks) if mark is not None}
