"""`serve` from the command line: a real process, and what it refuses."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from openai import OpenAI
from typer.testing import CliRunner

from asnn_goose.cli import app
from asnn_goose.cli.serve import access_for
from asnn_goose.infer.backend import EngineError, native_module
from asnn_goose.infer.server.student import Student
from asnn_goose.places import SubjectError
from asnn_goose.subject.served import default_name

try:
    native_module()
except EngineError:
    pytest.skip("no compiled engine", allow_module_level=True)

PROGRAM = [sys.executable, "-c", "from asnn_goose.cli import app; app()"]


@pytest.fixture(scope="module")
def model(student_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny student with a chat template, packed once for all tests."""
    target = tmp_path_factory.mktemp("serve") / "goose"
    folder = Path(shutil.copytree(student_dir, target, ignore=shutil.ignore_patterns("packed")))
    (folder / "chat_template.jinja").write_text(
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>"
    )
    return folder


def started(*words: str, **environment: str) -> tuple[subprocess.Popen[str], str, str]:
    """A server process, its address, and what it said before."""
    process = subprocess.Popen(
        [*PROGRAM, "serve", *words, "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if found := re.search(r"serving (.+) on (http://\S+)/", line):
            return process, found[2], said
    raise AssertionError(f"the server ended: {said}")


@pytest.fixture
def servers() -> Iterator[list[subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def test_it_serves_and_ends_with_ctrl_c(
    model: Path, tmp_path: Path, servers: list[subprocess.Popen[str]]
) -> None:
    process, url, said = started(
        str(model), "--name", "goose-1", "--cache-folder", str(tmp_path / "states"), "--slots", "2"
    )
    servers.append(process)
    assert "warning" not in said
    client = OpenAI(base_url=f"{url}/v1", api_key="none")
    assert [found.id for found in client.models.list()] == ["goose-1"]
    answer = client.chat.completions.create(
        model="goose-1", messages=[{"role": "user", "content": "Hello there, goose"}], max_tokens=3
    )
    assert answer.usage is not None
    assert answer.usage.completion_tokens > 0
    assert "<title>ASNN-Goose" in httpx.get(f"{url}/").text
    assert httpx.get(f"{url}/health", headers={"Host": "evil.example"}).status_code == 421
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) in {0, 130, -signal.SIGINT}
    assert list((tmp_path / "states").rglob("*.state"))


def test_keys_come_from_the_environment_too(
    model: Path, servers: list[subprocess.Popen[str]]
) -> None:
    process, url, said = started(str(model), "--host", "0.0.0.0", ASNN_GOOSE_API_KEY="a b")
    servers.append(process)
    assert "warning" not in said
    url = url.replace("0.0.0.0", "127.0.0.1")
    assert httpx.get(f"{url}/v1/models").status_code == 401
    for key in "ab":
        headers = {"Authorization": f"Bearer {key}"}
        assert httpx.get(f"{url}/v1/models", headers=headers).json()["data"][0]["id"] == "goose"


def test_an_open_server_is_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    access = access_for("0.0.0.0", keys=[], origins=[])
    assert "everybody who reaches it may use this machine" in capsys.readouterr().err
    assert access.hosts == ()
    assert "127.0.0.1" in access_for("localhost", keys=[], origins=[]).hosts
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "is no student"),
        (["{model}", "{model}"], "two students are called goose"),
        (["{model}", "--name", "a", "--name", "b"], "2 names for 1 students"),
        (["{model}", "--api-key", ""], "--api-key '': must not be empty"),
        (["{model}", "--host", "203.0.113.1", "--api-key", "k"], "203.0.113.1:8080"),
    ],
)
def test_what_cannot_be_served(runner: CliRunner, model: Path, words: list[str], said: str) -> None:
    result = runner.invoke(app, ["serve", *(word.format(model=model) for word in words)])
    assert result.exit_code == 2, result.output
    assert said in result.stderr


@pytest.mark.parametrize(
    ("path", "name"), [("runs/demo", "demo"), ("runs/demo/packed", "demo"), ("a/model/", "a")]
)
def test_a_student_is_called_after_its_folder(path: str, name: str) -> None:
    assert default_name(path) == name


@pytest.mark.parametrize("states", ["f32", "bf16"])
def test_states_are_kept_in_what_was_asked_for(
    states: str, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from asnn_goose.infer.server import app as server

    found: list[str] = []

    def stop(students: list[Student], **_: object) -> None:
        found.extend(student.engine.states for student in students)
        raise SubjectError("seen")

    monkeypatch.setattr(server, "make_app", stop)
    CliRunner().invoke(app, ["serve", str(model), "--states", states])
    assert found == [states]
