"""What a teacher says of its own texts, kept while it writes them: windows as training cuts them.

The words' probabilities at the time of drawing are of no use to a stage: training packs texts into
windows, and there a text stands behind others. So every window is read once it is full, by the
model that is in memory already; a window costs a fraction of what it costs to draw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from transformers import PreTrainedTokenizerBase

from asnn_goose.data.own_text import deal
from asnn_goose.data.shards import document_ids, separator_id
from asnn_goose.data.teacher_cache import CachedTeacher
from asnn_goose.model import Teacher
from asnn_goose.recipe.run_tables import CacheTable
from asnn_goose.recipe.teacher_caches import cached
from asnn_goose.trace import Window

WORDS = frozenset({"vocab"})


class KeptLogits:
    """Fills a teacher's cache for a file that grows, with `data.windows = "fixed"` windows of it.

    The text of a file is dealt to splits by its content, so that its training split is known text
    by text; its windows follow each other from its first token on.

    window  of the stage that is to read them
    top     words that are kept of every token, as `[teacher.cache]` says
    """

    def __init__(
        self,
        teacher: Teacher,
        tokenizer: PreTrainedTokenizerBase,
        *,
        window: int,
        top: int,
        tell: Callable[[str], None],
    ) -> None:
        self._cache: CachedTeacher = cached(teacher, CacheTable(top=top), tell=tell)
        self._tokenizer, self._window = tokenizer, window
        self._separator = separator_id(tokenizer)
        self._ids: list[int] = []

    def add(self, texts: Sequence[str]) -> int:
        """Read the windows that these texts, next in the file, fill; gives how many tokens."""
        written = [("", text) for text in texts if text.strip()]
        trained = [d.text for d in deal(written, "train", nothing="")] if written else []
        for ids in document_ids(self._tokenizer, trained):
            self._ids += [*ids, self._separator] if ids else []
        read = 0
        # A window is read for its last label's sake only where a token follows it.
        while len(self._ids) > self._window:
            tokens_1T = torch.tensor([self._ids[: self._window]])
            read += self._cache.fill(tokens_1T, WORDS, window=Window())
            del self._ids[: self._window]
        return read
