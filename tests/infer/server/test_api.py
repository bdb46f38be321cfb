"""The endpoints, called by OpenAI's own client."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

MESSAGES: Any = [
    {"role": "system", "content": "You are a goose, and you honk."},
    {"role": "user", "content": "Hello"},
]


def words(choice: Any) -> list[str]:
    return [entry.token for entry in choice.logprobs.content]


def logprobs(choice: Any) -> list[float]:
    return [entry.logprob for entry in choice.logprobs.content]


def test_models(server: Any) -> None:
    found = server.client.models.list().data
    assert [model.id for model in found] == ["tiny", "other"]
    assert server.client.models.retrieve("other").id == "other"
    about = found[0].model_dump()["asnn_goose"]
    assert about["layers"] == 2
    assert about["state_bytes"] == server.student.engine.start().nbytes
    assert about["kv_bytes_per_token"] == 2 * 2 * 2 * 64


def test_a_chat_whole_and_streamed_say_the_same(server: Any) -> None:
    ask = {"model": "tiny", "messages": MESSAGES, "max_tokens": 20, "seed": 4}
    whole = server.client.chat.completions.create(**ask)
    chunks = list(
        server.client.chat.completions.create(
            **ask, stream=True, stream_options={"include_usage": True}
        )
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content != ""
    assert whole.choices[0].finish_reason == chunks[-2].choices[0].finish_reason == "length"
    usage, streamed = whole.usage, chunks[-1].usage
    assert usage.completion_tokens == streamed.completion_tokens == 20
    assert usage.prompt_tokens == streamed.prompt_tokens
    assert usage.total_tokens == usage.prompt_tokens + 20
    # The system prompt and what follows it, but for the last token, were read once.
    assert streamed.prompt_tokens_details.cached_tokens == usage.prompt_tokens - 1


def test_a_completion_of_text_and_of_tokens(server: Any) -> None:
    ask = {"model": "tiny", "max_tokens": 8, "seed": 1, "logprobs": 2}
    text = server.client.completions.create(prompt="Honk", **ask).choices[0]
    ids = server.post("/tokenize", {"text": "Honk"}).json()["tokens"]
    tokens = server.client.completions.create(prompt=ids, **ask).choices[0]
    assert text.text == tokens.text
    assert len(text.logprobs.tokens) == 8
    assert text.logprobs.text_offset[:3] == [0, 1, 2]
    streamed = server.client.completions.create(prompt="Honk", stream=True, **ask)
    told = [chunk.choices[0].logprobs for chunk in streamed]
    assert [told_.text_offset for told_ in told if told_] == [
        [o] for o in text.logprobs.text_offset
    ]
    assert all(len(top) <= 2 for top in text.logprobs.top_logprobs)


def test_several_prompts_and_answers_are_numbered(server: Any) -> None:
    ask = {"model": "tiny", "max_tokens": 6, "seed": 3, "temperature": 1.5}
    many = server.client.completions.create(prompt=["A", "B"], n=2, **ask)
    assert [choice.index for choice in many.choices] == [0, 1, 2, 3]
    assert len({choice.text for choice in many.choices}) > 1
    single = server.client.completions.create(prompt="B", **ask | {"seed": 5})
    assert many.choices[2].text == single.choices[0].text
    assert many.usage.prompt_tokens == 2


def test_an_empty_prompt_begins_a_document(server: Any) -> None:
    found = server.client.completions.create(model="tiny", prompt="", max_tokens=2, seed=0)
    assert found.usage.prompt_tokens == 1


def test_stop_ends_before_itself(server: Any) -> None:
    ask = {"model": "tiny", "messages": MESSAGES, "max_tokens": 200, "seed": 1}
    free = server.client.chat.completions.create(**ask).choices[0]
    text = free.message.content
    stop = text[20:22]
    cut = server.client.chat.completions.create(**ask, stop=[stop, "never said"]).choices[0]
    assert cut.message.content == text[: text.index(stop)]
    assert cut.finish_reason == "stop"


def test_bias_greedy_and_logprobs(server: Any) -> None:
    token = server.post("/tokenize", {"text": "Z"}).json()["tokens"][0]
    found = server.client.chat.completions.create(
        model="tiny",
        messages=MESSAGES,
        max_tokens=3,
        temperature=0,
        logit_bias={str(token): 100},
        logprobs=True,
        top_logprobs=3,
    ).choices[0]
    assert found.message.content == "ZZZ"
    entry = found.logprobs.content[0]
    assert (entry.token, entry.bytes) == ("Z", [90])
    assert len(entry.top_logprobs) == 3
    assert entry.top_logprobs[0].logprob >= entry.top_logprobs[1].logprob > entry.logprob


@pytest.mark.parametrize(
    ("settings", "same"),
    [
        ({"top_k": 1}, True),
        ({"min_p": 1.0}, True),
        ({"top_k": 3}, False),
        ({"repetition_penalty": 5.0}, False),
    ],
)
def test_fields_that_openai_does_not_have(server: Any, settings: Any, same: bool) -> None:
    ask = {"model": "tiny", "messages": MESSAGES, "max_tokens": 30, "logprobs": True}
    greedy = server.client.chat.completions.create(**ask, temperature=0).choices[0]
    other = server.client.chat.completions.create(**ask, seed=2, extra_body=settings).choices[0]
    assert (words(greedy) == words(other)) is same


@pytest.mark.parametrize("penalty", ["frequency_penalty", "presence_penalty"])
def test_penalties_arrive(server: Any, penalty: str) -> None:
    ask = {"model": "tiny", "messages": MESSAGES, "max_tokens": 60, "seed": 2, "temperature": 2}
    ask |= {"logprobs": True}
    plain = server.client.chat.completions.create(**ask).choices[0]
    changed = server.client.chat.completions.create(**ask, **{penalty: 2.0}).choices[0]
    assert logprobs(changed) != logprobs(plain)


SCHEMA = {
    "type": "object",
    "properties": {"bird": {"enum": ["goose", "gull"]}, "honks": {"type": "boolean"}},
    "required": ["bird", "honks"],
    "additionalProperties": False,
}


def test_json_that_fits_a_schema(server: Any) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "bird", "schema": SCHEMA}}
    found = server.client.chat.completions.create(
        model="tiny", messages=MESSAGES, max_tokens=100, seed=1, n=3, response_format=form
    )
    for choice in found.choices:
        answer = json.loads(choice.message.content)
        assert answer.keys() == {"bird", "honks"}
        assert choice.finish_reason == "stop"


def test_json_objects(server: Any) -> None:
    brace = server.post("/tokenize", {"text": "}"}).json()["tokens"][0]
    found = server.client.chat.completions.create(
        model="tiny",
        messages=MESSAGES,
        max_tokens=50,
        seed=1,
        logit_bias={str(brace): 30},
        response_format={"type": "json_object"},
    ).choices[0]
    assert json.loads(found.message.content) == {}


def test_spikes_are_told_where_they_are_asked_for(server: Any) -> None:
    ask = {"model": "tiny", "messages": MESSAGES, "max_tokens": 5, "seed": 1, "stream": True}
    plain = list(server.client.chat.completions.create(**ask))
    told = list(server.client.chat.completions.create(**ask, extra_body={"spikes": True}))
    assert all("spikes" not in c.choices[0].model_dump() for c in plain)
    spikes = [c.choices[0].model_dump()["spikes"] for c in told[1:-1]]
    assert len(spikes) == 5
    about = server.client.models.retrieve("tiny").model_dump()["asnn_goose"]
    for token in spikes:
        assert len(token["layers"]) == 2
        assert len(token["matrices"]) == len(about["matrices"])
        assert all(0 < share < 1 for share in [*token["layers"], *token["matrices"]])
    assert len({token["additions"] for token in spikes}) > 1


def test_tokenize(server: Any) -> None:
    chat = server.post("/tokenize", {"messages": MESSAGES}).json()
    used = server.client.chat.completions.create(model="tiny", messages=MESSAGES, max_tokens=1)
    assert chat["count"] == len(chat["tokens"]) == used.usage.prompt_tokens
    text = server.post("/tokenize", {"text": "<|endoftext|>"}).json()
    assert text == {"model": "tiny", "tokens": [256], "count": 1}


def test_health_and_metrics(server: Any) -> None:
    server.client.completions.create(model="tiny", prompt="A", max_tokens=3)
    assert server.get("/health").json()["status"] == "ok"
    found = server.get("/metrics")
    assert found.headers["content-type"].startswith("text/plain")
    lines = dict(
        line.rsplit(" ", 1) for line in found.text.splitlines() if not line.startswith("#")
    )
    assert float(lines['asnn_goose_tokens_total{kind="drawn",model="tiny"}']) >= 3
    assert float(lines['asnn_goose_steps_total{model="tiny"}']) >= 3
    assert 'asnn_goose_requests_total{path="/v1/completions",status="200"}' in lines


def test_a_student_without_a_template_only_goes_on(server: Any) -> None:
    assert server.client.completions.create(model="other", prompt="A", max_tokens=2).choices
    with pytest.raises(openai.BadRequestError, match="has no chat template") as caught:
        server.client.chat.completions.create(model="other", messages=MESSAGES)
    assert caught.value.param == "messages"


def test_embeddings_are_not_offered(server: Any) -> None:
    with pytest.raises(openai.InternalServerError, match="embeddings are not offered") as caught:
        server.client.embeddings.create(model="tiny", input="A")
    assert caught.value.status_code == 501


def test_an_unknown_student_is_named(server: Any) -> None:
    with pytest.raises(openai.NotFoundError, match="'gpt' is not served: choose tiny or other"):
        server.client.chat.completions.create(model="gpt", messages=MESSAGES)
