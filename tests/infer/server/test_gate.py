"""What is wrong is named, in OpenAI's form; what is too much is turned away."""

from __future__ import annotations

import json
import socket
import threading
import time
from typing import Any

import httpx
import openai
import pytest

from asnn_goose.infer.server.settings import Access, Limits

CHAT = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "Hello"}]


def params(response: httpx.Response) -> set[str]:
    return {field["param"] for field in response.json()["error"]["fields"]}


@pytest.mark.parametrize(
    ("path", "body", "bad"),
    [
        (CHAT, {"messages": HELLO, "temperature": 3}, {"temperature"}),
        (CHAT, {"messages": HELLO, "temprature": 1, "top_p": 0}, {"temprature", "top_p"}),
        (CHAT, {"messages": [], "stop": [""], "n": 99}, {"messages", "stop.0", "n"}),
        (CHAT, {"messages": [{"role": "tool", "content": "x"}]}, {"messages.0.role"}),
        (CHAT, {"messages": HELLO, "tools": []}, {"tools"}),
        (CHAT, {"messages": HELLO, "max_tokens": "5", "seed": 1.5}, {"max_tokens", "seed"}),
        (CHAT, {"messages": HELLO, "max_tokens": 10**6}, {"max_tokens"}),
        (CHAT, {"messages": HELLO, "max_completion_tokens": 9**9}, {"max_completion_tokens"}),
        (CHAT, {"messages": HELLO, "logit_bias": {"x": 1}}, {"logit_bias"}),
        (CHAT, {"messages": HELLO, "logit_bias": {"257": 1}}, {"logit_bias"}),
        (CHAT, {"messages": [{"role": "user", "content": "x" * 600}]}, {"messages"}),
        (
            CHAT,
            {
                "messages": HELLO,
                "max_tokens": 10**6,
                "logit_bias": {"999": 1},
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "x", "schema": {"type": "nonsense"}},
                },
            },
            {"max_tokens", "logit_bias", "response_format.json_schema.schema"},
        ),
        ("/v1/completions", {"prompt": [300]}, {"prompt"}),
        ("/v1/completions", {"prompt": "x", "echo": True, "suffix": "y"}, {"echo", "suffix"}),
        ("/v1/completions", {"prompt": ["x"] * 5}, {"n"}),
        ("/v1/completions", {"prompt": "x", "logprobs": 6}, {"logprobs"}),
    ],
)
def test_every_bad_field_is_named(server: Any, path: str, body: Any, bad: set[str]) -> None:
    response = server.post(path, body)
    assert response.status_code == 400
    error = response.json()["error"]
    assert params(response) == bad
    assert error["param"] in bad
    assert error["type"] == "invalid_request_error"
    assert all(name in error["message"] for name in bad)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"messages": HELLO, "spikes": True}, "needs stream = true"),
        ({"messages": HELLO, "top_logprobs": 2}, "needs logprobs = true"),
        ({"messages": HELLO, "max_tokens": 1, "max_completion_tokens": 1}, "give one"),
        ({"messages": HELLO, "response_format": {"type": "json_schema"}}, "json_schema goes with"),
    ],
)
def test_fields_that_do_not_go_together(server: Any, body: Any, said: str) -> None:
    response = server.post(CHAT, body)
    assert response.status_code == 400
    assert said in response.json()["error"]["message"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"messages": NaN}',
        b"[" * 50_000,
        b'"x"',
        b'{"seed": 1' + b"0" * 5000,
    ],
)
def test_rubbish_is_a_bad_request(server: Any, content: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    response = httpx.post(server.url + CHAT, content=content, headers=headers, timeout=60)
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "user", "content": "\ud800"}]},
        {"messages": HELLO, "model": "\udc00"},
        {"messages": HELLO, "\udfff": 1},
    ],
)
def test_lone_surrogates_are_a_bad_request(server: Any, body: Any) -> None:
    content = json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    response = httpx.post(server.url + CHAT, content=content, headers=headers)
    assert response.status_code == 400


def test_unknown_paths_and_methods_have_the_same_form(server: Any) -> None:
    missing, method = server.get("/v2/nothing"), server.get(CHAT)
    assert (missing.status_code, method.status_code) == (404, 405)
    assert "GET /v2/nothing" in missing.json()["error"]["message"]
    assert "error" in method.json()


def test_a_body_has_a_size(server: Any) -> None:
    large = {"messages": [{"role": "user", "content": "x" * 200_000}]}
    assert server.post(CHAT, large).status_code == 413

    def chunks() -> Any:
        for _ in range(40):
            yield b" " * 10_000

    headers = {"Content-Type": "application/json"}
    response = httpx.post(server.url + CHAT, content=chunks(), headers=headers)
    assert response.status_code == 413


def test_a_body_has_a_time(serve: Any) -> None:
    server = serve(limits=Limits(body_time=0.3))
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as link:
        head = f"POST {CHAT} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        link.sendall(f"{head}Content-Length: 100\r\n\r\n{{".encode())
        assert b"408" in link.recv(1000)


def test_a_body_has_a_type(server: Any) -> None:
    response = httpx.post(server.url + CHAT, content=b"{}")
    assert response.status_code == 415
    assert "send application/json" in response.json()["error"]["message"]


def test_a_key_is_asked_for_where_there_is_one(serve: Any) -> None:
    server = serve(access=Access(keys=("secret", "other")))
    for path in ("/", "/health", "/playground/playground.js"):
        assert server.get(path).status_code == 200
    for path in ("/v1/models", "/metrics", "/openapi.json"):
        assert server.get(path).status_code == 401
        wrong = server.get(path, headers={"Authorization": "Bearer secre"})
        assert wrong.status_code == 401
        assert wrong.json()["error"]["code"] == "invalid_api_key"
    assert server.client.models.list().data
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="no").models.list()


def test_foreign_host_names_are_refused(serve: Any) -> None:
    server = serve(access=Access(hosts=("127.0.0.1",)))
    assert server.get("/health").status_code == 200
    assert server.get("/health", headers={"Host": "evil.example"}).status_code == 421


def test_other_origins_only_where_they_are_allowed(serve: Any, server: Any) -> None:
    ask = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
    assert "access-control-allow-origin" not in server.get("/v1/models", headers=ask).headers
    open_one = serve(access=Access(keys=("k",), origins=("https://a.example",)))
    preflight = httpx.options(open_one.url + CHAT, headers=ask)
    assert preflight.headers["access-control-allow-origin"] == "https://a.example"
    other = httpx.options(open_one.url + CHAT, headers=ask | {"Origin": "https://b.example"})
    assert "access-control-allow-origin" not in other.headers


def stream(server: Any, **more: Any) -> Any:
    return server.client.chat.completions.create(
        model="tiny", messages=HELLO, stream=True, max_tokens=2000, **more
    )


def test_a_full_queue_answers_429(serve: Any) -> None:
    server = serve(limits=Limits(slots=1, queue=1, tokens=2000))
    streams = [stream(server)]
    waiting = threading.Thread(target=lambda: streams.append(stream(server)))
    waiting.start()
    server.eventually(lambda: server.student.batcher.waiting == 1)
    with pytest.raises(openai.RateLimitError, match="try again in") as caught:
        stream(server)
    assert int(caught.value.response.headers["retry-after"]) >= 1
    streams[0].close()
    waiting.join()
    streams[1].close()
    server.eventually(server.is_idle)


@pytest.mark.parametrize("streamed", [True, False])
def test_a_vanished_client_frees_its_slot(serve: Any, streamed: bool) -> None:
    server = serve()
    body = {"messages": HELLO, "max_tokens": 2000, "stream": streamed}
    host, port = server.url.removeprefix("http://").split(":")
    content = json.dumps(body).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    link = socket.create_connection((host, int(port)), timeout=10)
    link.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
    server.eventually(lambda: server.student.batcher.taken == 1)
    link.close()
    server.eventually(server.is_idle, seconds=5)
    assert server.student.batcher.steps < 2000


def test_a_client_that_vanishes_while_it_waits(serve: Any) -> None:
    server = serve(limits=Limits(slots=1, queue=4, tokens=2000))
    first = stream(server)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(server.url + CHAT, json={"messages": HELLO, "stream": True}, timeout=0.5)
    server.eventually(lambda: server.student.batcher.waiting == 0)
    first.close()
    server.eventually(server.is_idle)


def test_an_answer_has_a_time(serve: Any) -> None:
    server = serve(limits=Limits(slots=1, time=0.4, tokens=10**6))
    started = time.monotonic()
    found = server.client.chat.completions.create(
        model="tiny", messages=HELLO, max_tokens=10**6, logit_bias={"256": -100}
    )
    assert time.monotonic() - started < 10
    assert found.choices[0].finish_reason == "length"
    assert 0 < found.usage.completion_tokens < 10**6
