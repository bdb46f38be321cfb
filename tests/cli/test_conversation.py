"""A conversation reads only what is new, and can be saved and loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asnn_goose.chat_template import ChatTemplate
from asnn_goose.infer.backend import EngineError
from asnn_goose.infer.conversation import Conversation
from asnn_goose.infer.drafts import Drafting, TextDraft
from asnn_goose.infer.sampler import Drawer, Sampling
from asnn_goose.infer.text import TextError
from asnn_goose.subject.engine_model import EngineModel, load_engine

from .conftest import TEMPLATE

GREEDY = Sampling(greedy=True)


@pytest.fixture
def loaded(instruct_dir: Path) -> EngineModel:
    return load_engine(str(instruct_dir))


Make = Callable[..., Conversation]


@pytest.fixture
def conversation(loaded: EngineModel) -> Make:
    def make(template: str = TEMPLATE, *, system: str | None = None) -> Conversation:
        return Conversation(
            loaded.engine,
            loaded.vocabulary,
            ChatTemplate(template),
            drawer=Drawer(GREEDY, native=True),
            system=system,
        )

    return make


class Script:
    """A drawer with a text to say; ~ ends an answer, anything else is one letter."""

    def __init__(self, loaded: EngineModel, letters: str) -> None:
        self.sampling = Sampling()  # which notices any rough logits
        vocabulary = loaded.vocabulary
        self._tokens = iter(
            [vocabulary.separator if x == "~" else vocabulary.ids(x)[0] for x in letters]
        )
        self.logits: list[np.ndarray] = []

    def see(self, ids: list[int]) -> None:
        pass

    def draw(self, logits_V: np.ndarray) -> int:
        self.logits.append(logits_V)
        return next(self._tokens)


def scripted(loaded: EngineModel, letters: str, template: str = TEMPLATE) -> Conversation:
    drawer: Drawer = Script(loaded, letters)  # type: ignore[assignment]
    return Conversation(loaded.engine, loaded.vocabulary, ChatTemplate(template), drawer=drawer)


def test_each_turn_reads_only_what_is_new(loaded: EngineModel) -> None:
    talk = scripted(loaded, "one~two~")
    assert "".join(talk.answer("a", limit=9)) == "one"
    assert talk.read == len("<user>a") + 1 + len("<assistant>") + len("one")
    before = talk.read
    assert "".join(talk.answer("b", limit=9)) == "two"
    assert talk.read - before == 1 + len("<user>b") + 1 + len("<assistant>") + len("two")


@pytest.mark.parametrize("limit", [3, 4])
def test_a_kept_state_answers_as_one_that_reads_everything(loaded: EngineModel, limit: int) -> None:
    talk = scripted(loaded, "one~two~" if limit == 4 else "onetwo~")
    list(talk.answer("a", limit=limit))
    list(talk.answer("b", limit=limit))
    script: Script = talk._drawer  # type: ignore[assignment]
    whole = ChatTemplate(TEMPLATE).render(talk.messages[:3])
    logits_V = loaded.engine.prefill(loaded.engine.start(), loaded.vocabulary.ids(whole))
    np.testing.assert_allclose(script.logits[limit], logits_V, atol=1e-5)
    roles = [message["role"] for message in talk.messages]
    assert roles == ["user", "assistant", "user", "assistant"]


def test_drafts_change_no_answer_and_no_state(loaded: EngineModel) -> None:
    talks = []
    for drafting in (None, Drafting(TextDraft(), tokens=3)):
        talk = Conversation(
            loaded.engine,
            loaded.vocabulary,
            ChatTemplate(TEMPLATE),
            drawer=Drawer(GREEDY, native=True),
            drafting=drafting,
        )
        said = ["".join(talk.answer(words, limit=12)) for words in ("A goose", "flew north")]
        talks.append((said, talk.drawn, talk.read, talk._unread, talk._state.position))
    assert talks[0] == talks[1]


@pytest.mark.parametrize(("sampling", "missed"), [(Sampling(top_p=0.5), 0.2), (Sampling(), 0.0)])
def test_the_head_may_be_as_rough_as_the_drawing_does_not_notice(
    loaded: EngineModel, monkeypatch: pytest.MonkeyPatch, sampling: Sampling, missed: float
) -> None:
    asked: list[float] = []
    prefill = loaded.engine.prefill

    def recorded(state: Any, ids: list[int], **rough: float) -> np.ndarray:
        asked.append(rough["missed"])
        return prefill(state, ids, **rough)

    monkeypatch.setattr(loaded.engine, "prefill", recorded)
    drawer = Drawer(sampling, seed=0)
    talk = Conversation(loaded.engine, loaded.vocabulary, ChatTemplate(TEMPLATE), drawer=drawer)
    list(talk.answer("a", limit=3))
    assert len(asked) >= 2
    assert asked == pytest.approx([missed] * len(asked))


def test_a_template_that_rewrites_the_past_is_read_anew(loaded: EngineModel) -> None:
    last_only = "{{ messages[-1].content }}#"
    talk = scripted(loaded, "one~two~", last_only)
    list(talk.answer("first", limit=9))
    list(talk.answer("second", limit=9))
    script: Script = talk._drawer  # type: ignore[assignment]
    logits_V = loaded.engine.prefill(loaded.engine.start(), loaded.vocabulary.ids("second#"))
    np.testing.assert_allclose(script.logits[4], logits_V, atol=1e-5)


def test_a_stop_string_ends_the_answer_and_is_forgotten(loaded: EngineModel) -> None:
    talk = scripted(loaded, "one STOP!ok~")
    assert "".join(talk.answer("a", limit=99, stops=["STOP"])) == "one "
    assert talk.messages[-1] == {"role": "assistant", "content": "one "}
    list(talk.answer("b", limit=2))
    script: Script = talk._drawer  # type: ignore[assignment]
    whole = ChatTemplate(TEMPLATE).render(talk.messages[:3])
    logits_V = loaded.engine.prefill(loaded.engine.start(), loaded.vocabulary.ids(whole))
    np.testing.assert_allclose(script.logits[8], logits_V, atol=1e-5)


def test_a_cancelled_answer_stays_as_far_as_it_came(loaded: EngineModel) -> None:
    talk = scripted(loaded, "one~")
    said: list[str] = []
    said += talk.answer("a", limit=9, cancelled=lambda: talk.drawn == 2)
    assert said == ["o", "n"]
    assert talk.messages[-1]["content"] == "on"


def test_messages_that_the_template_refuses_are_dropped(conversation: Make) -> None:
    talk = conversation("{% if messages|length > 1 %}{{ raise_exception('full') }}{% endif %}x")
    list(talk.answer("a", limit=2))
    before = list(talk.messages)
    with pytest.raises(TextError, match="full"):
        list(talk.answer("b", limit=2))
    assert talk.messages == before


def test_the_system_prompt_comes_first_and_survives_a_reset(conversation: Make) -> None:
    talk = conversation(system="Be brief.")
    first = "".join(talk.answer("Hi", limit=8))
    talk.reset()
    assert talk.messages == [{"role": "system", "content": "Be brief."}]
    assert "".join(talk.answer("Hi", limit=8)) == first


def test_a_saved_chat_goes_on_elsewhere(conversation: Make, tmp_path: Path) -> None:
    talk, other = conversation(), conversation()
    list(talk.answer("Hello", limit=5))
    talk.save(tmp_path / "chat")
    other.load(tmp_path / "chat")
    assert other.messages == talk.messages
    assert list(other.answer("More", limit=8)) == list(talk.answer("More", limit=8))


def test_a_bare_state_is_no_chat(conversation: Make, loaded: EngineModel, tmp_path: Path) -> None:
    loaded.engine.save(loaded.engine.start(), tmp_path / "state")
    with pytest.raises(EngineError, match="without a conversation"):
        conversation().load(tmp_path / "state")


def test_a_long_history_is_saved_and_loaded(loaded: EngineModel, tmp_path: Path) -> None:
    talk = scripted(loaded, "one~")
    list(talk.answer("雪" * 30_000, limit=1))
    talk.save(tmp_path / "kept")
    again = scripted(loaded, "two~")
    again.load(tmp_path / "kept")
    assert again.messages == talk.messages
