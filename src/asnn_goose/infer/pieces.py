"""Text of tokens as they come, whole characters at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from tokenizers import Tokenizer

CONTEXT = 8
"""Tokens that the decoder sees before the newest ones, at least."""

BROKEN = "\N{REPLACEMENT CHARACTER}"
"""What a decoder gives for bytes that are no character, or not yet one."""


def pieces(
    core: Tokenizer, before: Sequence[int], drawn: Iterable[int], *, marks: Mapping[int, str]
) -> Iterator[str]:
    """One piece of text per drawn token, empty while a character or a run of bytes is incomplete.

    A last piece holds what is incomplete to the end. Joined they are what the decoder makes of all
    tokens at once, less what it makes of those `before`, which no broken byte behind them spoils.
    A token in `marks` gives its entry besides.
    """
    window = TextWindow(core, before)
    for token in drawn:
        yield window.add(token) + marks.get(token, "")
    if rest := window.rest():
        yield rest


class TextWindow:
    """The newest tokens, the first `read` of which have been given as text.

    Byte-fallback decoders call a whole run of bytes broken where one is. So the window begins where
    a character begins, and a run is given once it is over.
    """

    def __init__(self, core: Tokenizer, before: Sequence[int]) -> None:
        self._core, self._bytes = core, byte_tokens(core)
        self._ids = self._start(before)
        self._read = len(self._ids)
        self._ends = [0]  # places of the window at which a piece ended

    def add(self, token: int) -> str:
        """The text that the token completes."""
        self._ids.append(token)
        found = self._unread()
        # Half a character decodes to a replacement sign; it may be whole with the next byte.
        if token in self._bytes or not found or found.endswith(BROKEN):
            return ""
        self._read = len(self._ids)
        self._shorten()
        return found

    def rest(self) -> str:
        """The text that no token has completed."""
        return self._unread()

    def _start(self, before: Sequence[int]) -> list[int]:
        """The last CONTEXT tokens, or more where those show no character or begin inside one."""
        length = CONTEXT
        while length < len(before):
            text = self._text(before[-length:])
            if text and not text.startswith(BROKEN):
                break
            # Doubled: a text of bytes alone would otherwise be decoded once for every token of it.
            length *= 2
        return list(before[-length:])

    def _unread(self) -> str:
        seen, text = self._text(self._ids[: self._read]), self._text(self._ids)
        if text.startswith(seen):
            return text[len(seen) :]
        return self._text(self._ids[self._read :])  # broken bytes have spoilt the run before them

    def _shorten(self) -> None:
        """Let go of tokens that are far enough behind, up to the end of a piece."""
        behind = [end for end in self._ends if len(self._ids) - end >= CONTEXT]
        start = behind[-1] if behind else 0
        self._ids, self._read = self._ids[start:], self._read - start
        self._ends = [end - start for end in self._ends if end >= start] + [self._read]

    def _text(self, ids: Sequence[int]) -> str:
        found: str = self._core.decode(list(ids), skip_special_tokens=True)
        return found


def byte_tokens(core: Tokenizer) -> frozenset[int]:
    """Tokens that the decoder takes as single bytes, such as <0xE6>, if it takes any so."""
    pieces = (f"<0x{byte:02X}>" for byte in range(256))
    known = {piece: number for piece in pieces if (number := core.token_to_id(piece)) is not None}
    return frozenset(number for piece, number in known.items() if core.decode([number]) != piece)
