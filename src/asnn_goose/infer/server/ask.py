"""From a request's fields to what is asked of a student; whatever does not fit is named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from asnn_goose.chat_template import Message
from asnn_goose.infer.sampler import Sampling
from asnn_goose.infer.server.chooser import Manner
from asnn_goose.infer.server.error_answers import bad_fields
from asnn_goose.infer.server.grammar import OBJECT, Grammar, GrammarError
from asnn_goose.infer.server.requests import Chat, Completion, Drawing, ResponseFormat
from asnn_goose.infer.server.student import Ask, Student
from asnn_goose.infer.text import TextError

Bad = list[tuple[str, str]]


def ask_of_chat(student: Student, body: Chat) -> Ask:
    """What a chat asks for. Raises ApiError, with every field that does not fit."""
    bad: Bad = []
    messages = [message.message for message in body.messages]
    text = chat_text(student, messages, bad)
    ids = student.vocabulary.ids(text)
    boundaries = [] if bad else student.boundaries(messages, ids)
    grammar = _grammar(student, body.response_format, bad)
    logprobs = (body.top_logprobs or 0) if body.logprobs else None
    asked = body.max_completion_tokens or body.max_tokens
    name = "max_completion_tokens" if body.max_completion_tokens else "max_tokens"
    ask = _ask(student, body, [ids], bad, logprobs, (name, asked))
    return replace(ask, grammar=grammar, boundaries=boundaries, text=text)


def ask_of_completion(student: Student, body: Completion) -> Ask:
    """What a completion asks for. Raises ApiError, with every field that does not fit."""
    bad: Bad = []
    vocabulary, words = student.vocabulary, student.engine.vocab_size
    prompts = [
        vocabulary.prompt_ids(prompt) if isinstance(prompt, str) else prompt
        for prompt in body.prompts
    ]
    if (most := max(map(max, prompts))) >= words:
        bad.append(("prompt", f"token {most}: the vocabulary holds 0 to {words - 1}"))
    choices = len(prompts) * (body.n or 1)
    if choices > student.limits.slots:
        bad.append(("n", f"{choices} answers together: at most {student.limits.slots} are written"))
    return _ask(student, body, prompts, bad, body.logprobs, ("max_tokens", body.max_tokens))


def chat_text(student: Student, messages: Sequence[Message], bad: Bad) -> str:
    """A conversation as text, up to the answer; what is wrong with it goes into `bad`."""
    if student.template is None:
        reason = "has no chat template, as its teacher was no instruct model: use /v1/completions"
        bad.append(("messages", f"{student.name} {reason}"))
        return ""
    try:
        return student.template.render(messages)
    except TextError as error:
        bad.append(("messages", str(error)))
        return ""


def _ask(
    student: Student,
    body: Drawing,
    prompts: Sequence[Sequence[int]],
    bad: Bad,
    logprobs: int | None,
    limit: tuple[str, int | None],
) -> Ask:
    limits, (name, asked) = student.limits, limit
    if (longest := max(map(len, prompts))) > limits.prompt:
        place = "messages" if isinstance(body, Chat) else "prompt"
        bad.append((place, f"{longest} tokens: this server reads at most {limits.prompt}"))
    if asked is not None and asked > limits.tokens:
        bad.append((name, f"{asked}: this server writes at most {limits.tokens}"))
    bias = {int(token): amount for token, amount in (body.logit_bias or {}).items()}
    if bias and max(bias) >= student.engine.vocab_size:
        words = student.engine.vocab_size - 1
        bad.append(("logit_bias", f"token {max(bias)}: the vocabulary holds 0 to {words}"))
    # All at once: a client sees every field that is wrong, not one after the other.
    if bad:
        raise bad_fields(bad)
    return Ask(
        prompts=prompts,
        manner=_manner(body, bias, logprobs),
        count=body.n or 1,
        limit=asked or limits.tokens,
        stops=body.stops,
        seed=body.seed,
        counted=body.spikes,
    )


def _manner(body: Drawing, bias: dict[int, float], logprobs: int | None) -> Manner:
    temperature = 1.0 if body.temperature is None else body.temperature
    sampling = Sampling(
        temperature=temperature or 1.0,
        # OpenAI's 0 means the likeliest word; a division by it means nothing.
        greedy=temperature == 0,
        top_k=body.top_k or 0,
        top_p=1.0 if body.top_p is None else body.top_p,
        min_p=body.min_p or 0.0,
        repetition_penalty=body.repetition_penalty or 1.0,
    )
    return Manner(
        sampling=sampling,
        frequency_penalty=body.frequency_penalty or 0.0,
        presence_penalty=body.presence_penalty or 0.0,
        bias=bias,
        logprobs=logprobs,
    )


def _grammar(student: Student, asked: ResponseFormat | None, bad: Bad) -> Grammar | None:
    if asked is None or asked.type == "text":
        return None
    schema = OBJECT if asked.json_schema is None else asked.json_schema.schema_
    try:
        return student.grammars.make(schema)
    except GrammarError as error:
        bad.append(("response_format.json_schema.schema", str(error)))
        return None
