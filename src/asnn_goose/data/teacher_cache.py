"""A teacher whose passes are kept on the disk, window by window, for whoever asks again.

A window is known by what the teacher reads: its very tokens, and where documents begin in it if it
reads them apart. So it is found again in another epoch, stage, rung or run, at the same place of
the same text or wherever else it comes, and never where the text or the tokenizer has changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from asnn_goose.format import teacher_values
from asnn_goose.format.record_file import KEY_BYTES, RecordFolder
from asnn_goose.sources import cache_dir
from asnn_goose.trace import PLACES, TopWords, Trace, Window

FORMAT = 1
"""Goes into the name of every folder: raise it when the bytes mean something else."""

FEATURES = PLACES - {"vocab"}
ROWS = 256
"""Tokens whose logits exist at one time."""


class Live(Protocol):
    """The teacher behind a cache."""

    name: str

    @property
    def signals(self) -> frozenset[str]:
        """Names of what it gives beside trace.PLACES."""

    @property
    def outline(self) -> Trace:
        """A Trace of no tokens, with the sizes."""

    def trace(
        self, tokens_BT: Tensor, needs: frozenset[str], *, window: Window | None = None
    ) -> Trace:
        """Run on tokens (B,T) and keep what `needs` names."""


@dataclass(frozen=True, kw_only=True)
class CacheSettings:
    """What is kept of a teacher.

    top           words of every token, with their log-probabilities
    temperatures  at which the mass of all other words is kept
    features      how inner vectors are kept, "fp16" or "int8"; None: they are not, and stages that
                  read nothing else run the teacher
    """

    top: int = 64
    temperatures: tuple[float, ...] = (1.0,)
    features: str | None = None

    @property
    def holds(self) -> frozenset[str]:
        """Needs of a stage that are read from the cache."""
        return PLACES if self.features else frozenset({"vocab"})

    def check(self, needs: frozenset[str], *, teacher: str) -> None:
        """Raise ValueError where a stage could read only a part of what it needs."""
        beyond = sorted(needs - self.holds)
        if beyond and needs & self.holds:
            remedy = "set its features" if self.features is None else "leave the cache out"
            raise ValueError(
                f"{', '.join(beyond)} of the teacher {teacher!r} is needed, and its cache keeps "
                f"{', '.join(sorted(self.holds))}: {remedy}"
            )

    def stream(self, need: str) -> dict[str, Any]:
        """What is kept for one of a stage's needs."""
        if need == "vocab":
            return {"need": need, "top": self.top, "temperatures": list(self.temperatures)}
        return {"need": need, "features": self.features}


class CachedTeacher:
    """A teacher that runs on a window once; what it said then is read from the disk.

    What comes out has always been through the bytes that are kept, so that a window's first
    pass and all later ones are the same to the bit. The teacher reads windows one by one, in its
    own precision, so that they do not depend on who asks first.

    identity    what makes it this teacher: fingerprints of its weights and its tokenizer
    vocabulary  rows of its head
    Raises ValueError where there are fewer words than are to be kept.
    """

    def __init__(
        self,
        teacher: Live,
        *,
        settings: CacheSettings,
        identity: Mapping[str, str],
        vocabulary: int,
        tell: Callable[[str], None],
    ) -> None:
        if settings.top > vocabulary:
            raise ValueError(
                f"cache.top = {settings.top}: the teacher {teacher.name!r} has {vocabulary} words"
            )
        self.teacher, self.settings, self.name = teacher, settings, teacher.name
        self._vocabulary, self._identity, self._tell = vocabulary, dict(identity), tell
        self._folders: dict[str, RecordFolder] = {}

    @property
    def signals(self) -> frozenset[str]:
        """Names of what it gives beside trace.PLACES, running."""
        return self.teacher.signals

    @property
    def outline(self) -> Trace:
        """A Trace of no tokens, with the sizes."""
        return self.teacher.outline

    def trace(
        self, tokens_BT: Tensor, needs: frozenset[str], *, window: Window | None = None
    ) -> Trace:
        """What `needs` names of tokens (B,T); the teacher's `top` words instead of its logits.

        Runs the teacher on windows that are not there. Raises ValueError where the cache holds
        only a part of what is needed; where it holds none of it, the teacher runs.
        """
        window = window or Window()
        if not needs & self.settings.holds:
            return self.teacher.trace(tokens_BT, needs, window=window)
        self.settings.check(needs, teacher=self.name)
        rows = [self._row(*row, needs) for row in _rows(tokens_BT, window)]
        fields: dict[str, Any] = {
            need: self._features([row[need] for row in rows], tokens_BT)
            for need in needs & FEATURES
        }
        if "vocab" in needs:
            fields["top"] = self._top([row["vocab"] for row in rows], tokens_BT.device)
        return replace(self.outline, window=window, **fields)

    def fill(self, tokens_BT: Tensor, needs: frozenset[str], *, window: Window) -> int:
        """Keep what is not there yet of some windows; gives how many of their tokens were read."""
        read = 0
        for tokens_1T, own in _rows(tokens_BT, window):
            key = window_key(tokens_1T, own)
            missing = {need for need in needs & self.settings.holds if key not in self.kept(need)}
            if missing:
                self._run(tokens_1T, own, frozenset(missing), key)
                read += tokens_1T.numel()
        return read

    def token_bytes(self, need: str, *, layers: int) -> int:
        """What is kept of one token for one of a stage's needs, of a teacher with such layers."""
        if need == "vocab":
            return teacher_values.top_bytes(
                top=self.settings.top,
                temperatures=len(self.settings.temperatures),
                vocabulary=self._vocabulary,
            )
        kind = str(self.settings.features)
        places = layers + (need == "hidden")
        return places * teacher_values.feature_bytes(self.outline.width, kind=kind)

    def kept(self, need: str) -> RecordFolder:
        """The folder of a need; it may be empty."""
        if need not in self._folders:
            told = {"format": FORMAT, **self._identity, **self.settings.stream(need)}
            text = json.dumps(told, indent=1, sort_keys=True)
            name = hashlib.sha256(text.encode()).hexdigest()[:16]
            folder = cache_dir() / "teacher-cache" / name
            self._folders[need] = RecordFolder(folder, tell=self._tell, about=text)
        return self._folders[need]

    def _row(self, tokens_1T: Tensor, window: Window, needs: frozenset[str]) -> dict[str, bytes]:
        """Payloads of one window by need."""
        key = window_key(tokens_1T, window)
        found = {need: self.kept(need).get(key) for need in needs}
        there = {need: payload for need, payload in found.items() if payload is not None}
        missing = needs - there.keys()
        return there | (self._run(tokens_1T, window, missing, key) if missing else {})

    @torch.no_grad()
    def _run(
        self, tokens_1T: Tensor, window: Window, needs: frozenset[str], key: bytes
    ) -> dict[str, bytes]:
        # Whatever precision the student trains in: what is kept serves other runs too.
        with torch.autocast(tokens_1T.device.type, enabled=False):
            trace = self.teacher.trace(tokens_1T, needs, window=window)
            said = {need: self._bytes(trace, need) for need in sorted(needs)}
        for need, payload in said.items():
            self.kept(need).put(key, payload)
        return said

    def _bytes(self, trace: Trace, need: str) -> bytes:
        if need == "vocab":
            words = top_words(trace, top=self.settings.top, taus=self.settings.temperatures)
            return teacher_values.pack_top(words, vocabulary=self._vocabulary)
        places: tuple[Tensor, ...] = getattr(trace, need)
        x_ND = torch.cat([x_1TD[0] for x_1TD in places]).float().cpu().numpy()
        return teacher_values.pack_features(x_ND, kind=str(self.settings.features))

    def _top(self, payloads: list[bytes], device: torch.device) -> TopWords:
        taus = self.settings.temperatures
        rows = [
            teacher_values.unpack_top(
                payload, top=self.settings.top, temperatures=len(taus), vocabulary=self._vocabulary
            )
            for payload in payloads
        ]

        def joined(parts: list[Any]) -> Tensor:
            return torch.from_numpy(np.concatenate(parts)).to(device)

        return TopWords(
            ids_nK=joined([row.ids_TK for row in rows]),
            log_p_nK=joined([row.log_p_TK for row in rows]),
            rest_nG=joined([row.rest_TG for row in rows]),
            temperatures=taus,
        )

    def _features(self, payloads: list[bytes], tokens_BT: Tensor) -> tuple[Tensor, ...]:
        """The vectors (B,T,D) of every place of a need."""
        kind, width = str(self.settings.features), self.outline.width
        rows = [teacher_values.unpack_features(one, width=width, kind=kind) for one in payloads]
        x_BLTD = torch.from_numpy(np.stack(rows)).to(tokens_BT.device)
        places: tuple[Tensor, ...] = x_BLTD.unflatten(1, (-1, tokens_BT.shape[1])).unbind(1)
        return places


def window_key(tokens_1T: Tensor, window: Window) -> bytes:
    """What one window is known by: a hash of its tokens, and of the places of new documents."""
    found = hashlib.blake2b(tokens_1T.cpu().numpy().astype("<i4").tobytes(), digest_size=KEY_BYTES)
    if window.documents_BT is not None:
        found.update(b"documents" + _starts(window.documents_BT).tobytes())
    return found.digest()


def _starts(documents_1T: Tensor) -> np.ndarray[Any, np.dtype[np.int32]]:
    """Where in the window a document begins that is not its first one."""
    documents_T = documents_1T[0].cpu().numpy()
    return (np.flatnonzero(np.diff(documents_T)) + 1).astype("<i4")


def _rows(tokens_BT: Tensor, window: Window) -> list[tuple[Tensor, Window]]:
    """Every window by itself."""
    if window.mask_BT is not None or window.position_BT is not None:
        raise ValueError("windows with padding or positions of their own are not cached")
    documents_BT = window.documents_BT
    return [
        (
            tokens_BT[row : row + 1],
            Window(documents_BT=None if documents_BT is None else documents_BT[row : row + 1]),
        )
        for row in range(len(tokens_BT))
    ]


@torch.no_grad()
def top_words(trace: Trace, *, top: int, taus: tuple[float, ...]) -> teacher_values.TopWords:
    """The most likely words of a Trace with logits, and the mass of the rest."""
    if trace.final_BTD is None:
        raise ValueError("this Trace has no logits: capture 'vocab'")
    count = trace.final_BTD.shape[0] * trace.final_BTD.shape[1]
    parts = [
        _top_of(torch.log_softmax(trace.vocab(slice(start, start + ROWS)), -1), top, taus)
        for start in range(0, count, ROWS)
    ]
    ids_TK, log_p_TK, rest_TG = (torch.cat(part).cpu().numpy() for part in zip(*parts, strict=True))
    return teacher_values.TopWords(ids_TK=ids_TK, log_p_TK=log_p_TK, rest_TG=rest_TG)


def _top_of(log_p_nV: Tensor, top: int, taus: tuple[float, ...]) -> tuple[Tensor, Tensor, Tensor]:
    log_p_nK, ids_nK = log_p_nV.topk(top, dim=-1)
    others_nV = log_p_nV.scatter(-1, ids_nK, -torch.inf)
    rest = [torch.logsumexp(others_nV / tau, -1) for tau in taus]
    return ids_nK, log_p_nK, torch.stack(rest, -1)
