"""A chat reads only what is new, keeps going after Ctrl-C, and can be saved and loaded."""

from __future__ import annotations

import io
import json
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from asnn_goose.chat_template import ChatTemplate
from asnn_goose.cli import app
from asnn_goose.cli.chat import interruptible, turns
from asnn_goose.infer.backend import EngineError
from asnn_goose.infer.conversation import Conversation
from asnn_goose.infer.drafts import Drafting, TextDraft
from asnn_goose.infer.sampler import Drawer, Sampling
from asnn_goose.infer.text import TextError
from asnn_goose.subject.engine_model import EngineModel, load_engine

TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}<|endoftext|>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
GREEDY = Sampling(greedy=True)


@pytest.fixture(scope="session")
def instruct_dir(student_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny student with a chat template."""
    target = tmp_path_factory.mktemp("chat") / "student"
    folder = Path(shutil.copytree(student_dir, target, ignore=shutil.ignore_patterns("packed")))
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder


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


def chat(runner: CliRunner, folder: Path, stdin: str, *words: str) -> Result:
    common = ["chat", str(folder), "--greedy", "--tokens", "6"]
    return runner.invoke(app, [*common, *words], input=stdin)


def test_every_line_of_a_pipe_is_a_turn(runner: CliRunner, instruct_dir: Path) -> None:
    result = chat(runner, instruct_dir, "Hello\n\nAnd now?\n")
    assert result.exit_code == 0, result.output
    assert result.stderr.count("[read ") == 2
    assert "> " not in result.stderr
    both = result.stdout
    assert chat(runner, instruct_dir, "Hello").stdout == both[: len(both) // 2] or both


def test_commands(runner: CliRunner, instruct_dir: Path, tmp_path: Path) -> None:
    file = tmp_path / "kept"
    lines = ["Hello", f"/save {file}", "/reset", f"/load {file}", "/save", "/fly", "/quit", "no"]
    result = chat(runner, instruct_dir, "\n".join(lines))
    assert result.exit_code == 0
    said = result.stderr.splitlines()
    assert [line for line in said if line.startswith(("[save", "[reset", "[load"))] == [
        "[save: 2 messages]",
        "[reset: 0 messages]",
        "[load: 2 messages]",
    ]
    assert "error: '/save' is no command: write /save FILE" in said
    assert any(line.startswith("error: '/fly' is no command: write /reset") for line in said)
    assert result.stderr.count("[read ") == 1


def test_a_missing_file_does_not_end_the_chat(runner: CliRunner, instruct_dir: Path) -> None:
    result = chat(runner, instruct_dir, "/load nowhere\nHello")
    assert result.exit_code == 0
    assert "error: nowhere: No such file or directory" in result.stderr
    assert "[read " in result.stderr


def test_a_model_without_a_template_is_refused(runner: CliRunner, student_dir: Path) -> None:
    result = chat(runner, student_dir, "Hello")
    assert result.exit_code == 2
    assert "has no chat template: chat needs a student of an instruct teacher" in result.stderr


def test_a_teacher_is_refused(runner: CliRunner, teacher_dir: Path) -> None:
    result = chat(runner, teacher_dir, "Hello")
    assert result.exit_code == 2
    assert "is no student" in result.stderr


def test_ctrl_c_ends_the_answer_and_keeps_the_chat(
    runner: CliRunner, instruct_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw, calls = Drawer.draw, iter(range(1000))

    def interrupted(drawer: Drawer, logits_V: np.ndarray) -> int:
        if next(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        return draw(drawer, logits_V)

    monkeypatch.setattr(Drawer, "draw", interrupted)
    result = chat(runner, instruct_dir, "One\nTwo\n")
    assert result.exit_code == 0
    first, second = (line for line in result.stderr.splitlines() if line.startswith("[read "))
    assert "drew 3" in first
    assert first.endswith("stopped]")
    assert "drew 6" in second
    assert not second.endswith("stopped]")


def test_the_second_ctrl_c_interrupts() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), interruptible() as cancelled:  # noqa: PT012
        assert not cancelled()
        signal.raise_signal(signal.SIGINT)
        assert cancelled()
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_person_gets_a_prompt(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def typed() -> Iterator[str]:
        yield from (" Hi ", "", "there")

    lines, prompts = typed(), []

    def ask(prompt: str) -> str:
        prompts.append(prompt)
        try:
            return next(lines)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("builtins.input", ask)
    assert list(turns(greeting="hello")) == ["Hi", "there"]
    assert prompts == ["> "] * 4
    assert capsys.readouterr().err == "hello\n"


def test_a_loaded_file_of_another_model_is_named(
    runner: CliRunner, instruct_dir: Path, tmp_path: Path
) -> None:
    file = tmp_path / "kept"
    chat(runner, instruct_dir, f"Hello\n/save {file}")
    header, _, data = file.read_bytes().partition(b"\n")
    magic, _, settings = header.partition(b"{")
    changed = json.loads(b"{" + settings) | {"model": "00000000"}
    file.write_bytes(magic + json.dumps(changed).encode() + b"\n" + data)
    result = chat(runner, instruct_dir, f"/load {file}\nHi")
    assert "is a state of another model" in result.stderr
    assert result.exit_code == 0


def test_a_long_history_is_saved_and_loaded(loaded: EngineModel, tmp_path: Path) -> None:
    talk = scripted(loaded, "one~")
    list(talk.answer("雪" * 30_000, limit=1))
    talk.save(tmp_path / "kept")
    again = scripted(loaded, "two~")
    again.load(tmp_path / "kept")
    assert again.messages == talk.messages
