"""A reader as lm-eval calls a model (github.com/EleutherAI/lm-evaluation-harness, 0.4.13)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lm_eval.api.model import TemplateLM

from asnn_goose.chat_template import ChatTemplate
from asnn_goose.eval.readers.reader import Pair, Reader, batches, continuations
from asnn_goose.eval.tasks.task_scores import TaskScore, scores_of, spread_items
from asnn_goose.eval.watch import Watch, unwatched
from asnn_goose.infer.sampler import Sampling
from asnn_goose.infer.text import until_stop

BATCH = 16
"""Requests at a time."""

MOST_TOKENS = 256
"""Drawn for a request that sets no limit, as in lm-eval."""


class HarnessLM(TemplateLM):  # type: ignore[misc]
    """What a subclass of lm-eval's own must give; all of it is done by the reader.

    Texts become tokens as lm-eval's class for Transformers makes them: what a tokenizer puts
    before a text is there, and an empty context is the token that begins one.
    """

    def __init__(
        self,
        reader: Reader,
        *,
        batch_size: int = BATCH,
        template: ChatTemplate | None = None,
        watch: Watch = unwatched,
    ) -> None:
        super().__init__()
        self._reader, self._batch, self._watch = reader, batch_size, watch
        self._template = template

    @property
    def eot_token_id(self) -> int:
        """The token between two documents."""
        return self._reader.vocabulary.separator

    @property
    def prefix_token_id(self) -> int:
        """What an empty context stands for."""
        start = self._reader.vocabulary.start
        return self.eot_token_id if start is None else start

    @property
    def tokenizer_name(self) -> str:
        """Part of the key under which lm-eval stores requests."""
        return self._reader.name

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **_: Any
    ) -> list[int]:
        """Tokens of a text; those that the tokenizer adds unless told not to."""
        vocabulary = self._reader.vocabulary
        if add_special_tokens is False or not string:
            return vocabulary.ids(string)
        return vocabulary.prompt_ids(string)

    def loglikelihood(
        self, requests: Sequence[Any], disable_tqdm: bool = True
    ) -> list[tuple[float, bool]]:
        """As in lm-eval, with our own bar and not lm-eval's."""
        found: list[tuple[float, bool]] = super().loglikelihood(requests, disable_tqdm=True)
        return found

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """The conversation as text. Raises ValueError for a model without a template."""
        if self._template is None:
            raise ValueError(f"{self._reader.name} has no chat template: ask it without one")
        return self._template.render(chat_history, answer=add_generation_prompt)

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, list[int], list[int]]], **_: Any
    ) -> list[tuple[float, bool]]:
        pairs: list[Pair] = [(context, after) for _, context, after in requests]
        found: dict[int, tuple[float, bool]] = {}
        with self._watch(f"{self._reader.name}: choices", len(pairs)) as advance:
            for places in batches(pairs, size=self._batch):
                scores = self._reader.score([pairs[place] for place in places])
                found |= dict(zip(places, scores, strict=True))
                advance(len(places))
        return [found[place] for place in range(len(pairs))]

    def loglikelihood_rolling(self, requests: Sequence[Any], **_: Any) -> list[float]:
        """Whole texts, each after the token that begins one."""
        found = []
        with self._watch(f"{self._reader.name}: texts", len(requests)) as advance:
            for request in requests:
                ids = [self.prefix_token_id, *self.tok_encode(request.args[0], False)]
                found.append(-sum(float(part.nats_t.sum()) for part in self._reader.read(ids)))
                advance(1)
        return found

    def generate_until(self, requests: Sequence[Any], **_: Any) -> list[str]:
        """Greedy unless a request samples; requests with unlike settings go in batches of theirs.

        Raises ValueError for a setting that is not known.
        """
        found: dict[int, str] = {}
        with self._watch(f"{self._reader.name}: answers", len(requests)) as advance:
            for places, settings in _alike([request.args[1] for request in requests]):
                for start in range(0, len(places), self._batch):
                    part = places[start : start + self._batch]
                    texts = self._answers([requests[place].args[0] for place in part], settings)
                    found |= dict(zip(part, texts, strict=True))
                    advance(len(part))
        return [found[place] for place in range(len(requests))]

    def _answers(self, contexts: Sequence[str], settings: Mapping[str, Any]) -> list[str]:
        """Texts that go on from contexts, up to a stop string."""
        sampling, limit, stops = _settings(settings)
        vocabulary = self._reader.vocabulary
        prompts = [self.tok_encode(context) or [self.prefix_token_id] for context in contexts]
        room = self._reader.reach
        if room is not None:
            prompts = [prompt[-max(1, room - limit) :] for prompt in prompts]

        def text(row: int, drawn: Sequence[int]) -> str:
            return "".join(vocabulary.pieces(prompts[row], drawn))

        def over(row: int, drawn: list[int]) -> bool:
            return any(stop in text(row, drawn) for stop in stops)

        drawn = continuations(self._reader, prompts, limit=limit, sampling=sampling, over=over)
        return ["".join(until_stop([text(row, tokens)], stops)) for row, tokens in enumerate(drawn)]


def ask(lm: Any, tasks: Mapping[str, Any], *, limit: int | None) -> list[TaskScore]:
    """Scores by task, in order; of a task at most `limit` items, evenly spaced over its set.

    lm     what lm-eval calls a model
    tasks  of `load_tasks`; they remember answers, so every model needs tasks of its own
    """
    # Here: lm-eval's own evaluator may be what is importing this file, as a plug-in.
    from lm_eval.evaluator import evaluate

    items = {name: spread_items(len(task.eval_docs), limit) for name, task in tasks.items()}
    # No bootstrap: errors come from the items themselves, and it starts processes.
    found = evaluate(lm, {"tasks": dict(tasks)}, samples=items, bootstrap_iters=0)
    samples = found["samples"] if found else {}
    return scores_of({name: samples[name] for name in tasks})


def _settings(given: Mapping[str, Any]) -> tuple[Sampling, int, list[str]]:
    """How to draw, how many tokens, and where to stop, of lm-eval's table."""
    left = dict(given)
    until = left.pop("until", None) or []
    names = ("max_gen_toks", "max_new_tokens", "max_tokens")
    limits = [int(left.pop(name)) for name in names if name in left]
    temperature = float(left.pop("temperature", 0.0))
    samples = bool(left.pop("do_sample", temperature > 0)) and temperature > 0
    options = {name: left.pop(name) for name in ("top_k", "top_p", "min_p") if name in left}
    if left:
        raise ValueError(f"generation setting {next(iter(left))!r}: choose among {_KNOWN}")
    sampling = Sampling(temperature=temperature, **options) if samples else Sampling(greedy=True)
    stops = [until] if isinstance(until, str) else [stop for stop in until if stop]
    return sampling, limits[0] if limits else MOST_TOKENS, stops


_KNOWN = "until, max_gen_toks, temperature, do_sample, top_k, top_p, min_p"


def _alike(settings: Sequence[dict[str, Any]]) -> Iterator[tuple[list[int], dict[str, Any]]]:
    """Places of the requests that share their settings, with these."""
    groups: dict[str, list[int]] = {}
    for place, table in enumerate(settings):
        groups.setdefault(repr(table), []).append(place)
    return ((places, settings[places[0]]) for places in groups.values())
