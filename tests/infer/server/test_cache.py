"""With kept states the same is said, and less is read: where others' recurrent servers fail."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

SYSTEM = {"role": "system", "content": "You are a goose. You live on a lake and honk at boats."}
ASCII = {str(token): -100 for token in range(94, 256)}
"""Keeps the tiny student to letters, which come back from a client as the tokens they were."""


def ask(server: Any, messages: list[dict[str, str]], **more: Any) -> tuple[str, int, int]:
    """The answer, tokens of the prompt, and how many of them were known."""
    settings = {"max_tokens": 12, "seed": 5, "logit_bias": ASCII, "model": "tiny"} | more
    found = server.client.chat.completions.create(messages=messages, **settings)
    usage = found.usage
    cached = usage.prompt_tokens_details.cached_tokens
    return found.choices[0].message.content, usage.prompt_tokens, cached


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def conversation(server: Any, turns: int, *, first: str = "Turn 0") -> list[tuple[str, int, int]]:
    messages, found = [SYSTEM], []
    for turn in range(turns):
        messages.append(user(first if turn == 0 else f"Turn {turn}"))
        found.append(ask(server, messages))
        messages.append(assistant(found[-1][0]))
    return found


def test_the_same_is_said_with_and_without(serve: Any) -> None:
    kept, bare = conversation(serve(), 5), conversation(serve(memory=0), 5)
    assert [answer for answer, _, _ in kept] == [answer for answer, _, _ in bare]
    assert [cached for _, _, cached in bare] == [0] * 5
    for (_, before, _), (_, prompt, cached) in pairwise(kept):
        # All of the conversation but the last word of the answer was known.
        assert cached == before + 12 - 1
        assert prompt - cached < 40


def test_a_shared_system_prompt_is_read_once(serve: Any) -> None:
    server = serve()
    ask(server, [SYSTEM, user("Where do you live?")])
    _, _, cached = ask(server, [SYSTEM, user("And what do you eat?")])
    system = server.post("/tokenize", {"text": f"<system>{SYSTEM['content']}<|endoftext|>"})
    assert cached == system.json()["count"]


def test_one_goes_back_to_an_earlier_turn(serve: Any) -> None:
    server = serve()
    said = conversation(server, 3)
    first = [SYSTEM, user("Turn 0"), assistant(said[0][0])]
    rewound = [*first, user("Something else")]
    answer, _, cached = ask(server, rewound)
    assert cached == said[0][1] + 12 - 1
    assert answer == ask(serve(memory=0), rewound)[0]
    again, _, known = ask(server, rewound)
    assert again == answer
    assert known >= cached


def test_a_regenerated_answer_is_not_the_old_one(serve: Any) -> None:
    server, messages = serve(), [SYSTEM, user("Say something")]
    first, prompt, _ = ask(server, messages, seed=1)
    second, _, cached = ask(server, messages, seed=2)
    assert first != second
    assert cached == prompt - 1


def test_texts_that_begin_alike_share_from_the_third_on(serve: Any) -> None:
    server, shared = serve(), "A goose, a gander and a gosling went down to the lake: "

    def cached(end: str) -> int:
        found = server.client.completions.create(model="tiny", prompt=shared + end, max_tokens=1)
        return int(found.usage.prompt_tokens_details.cached_tokens)

    assert [cached("one" * 20), cached("two" * 20), cached("six" * 20)] == [0, 0, len(shared)]


def test_what_does_not_fit_is_read_again(serve: Any) -> None:
    server = serve(memory=40_000)
    state = server.student.engine.start().nbytes
    said = [conversation(server, 2, first=f"Number {n}") for n in range(4)]
    assert server.student.store.nbytes <= 40_000
    assert len(server.student.store) <= 40_000 // state
    whole = serve()
    for n, turns in enumerate(said):
        again = conversation(whole, 2, first=f"Number {n}")
        assert [answer for answer, _, _ in again] == [answer for answer, _, _ in turns]


def test_a_restarted_server_goes_on(serve: Any, folder: Path, tmp_path: Path) -> None:
    server = serve(states=tmp_path)
    messages = [SYSTEM, user("Turn 0")]
    first, before, _ = ask(server, messages)
    messages += [assistant(first), user("Turn 1")]
    server.student.store.close()
    restarted = serve(states=tmp_path)
    answer, _, cached = ask(restarted, messages)
    assert cached == before + 12 - 1
    assert answer == ask(serve(memory=0), messages)[0]


def test_an_answer_in_other_tokens_is_read_again_beforehand(serve: Any) -> None:
    """What was drawn as broken characters comes back as other ones: only then is more to read."""
    server, messages = serve(), [SYSTEM, user("Hello")]
    said, _, _ = ask(server, messages, logit_bias=None, seed=11, temperature=1.5)
    assert "\ufffd" in said
    following = [*messages, assistant(said), user("And?")]
    text = f"<assistant>{said}"
    server.eventually(server.is_idle)
    answer, prompt, cached = ask(server, following)
    new = server.post("/tokenize", {"text": "<|endoftext|><user>And?<|endoftext|><assistant>"})
    assert prompt - cached <= new.json()["count"]
    assert server.post("/tokenize", {"text": text}).json()["count"] > 12
    assert answer == ask(serve(memory=0), following)[0]
