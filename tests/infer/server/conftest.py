"""A tiny spiking student that speaks bytes, and servers of it on the loopback address."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from openai import OpenAI
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from asnn_goose.eval.random_student import SHAPES, random_student
from asnn_goose.eval.serving import serving_costs
from asnn_goose.format.packed import write_packed
from asnn_goose.infer.backend import EngineError, native_module
from asnn_goose.infer.chat_template import read_chat_template
from asnn_goose.infer.engine import Engine
from asnn_goose.infer.server.app import make_app
from asnn_goose.infer.server.settings import Access, Limits
from asnn_goose.infer.server.state_folder import StateFolder
from asnn_goose.infer.server.state_store import StateStore
from asnn_goose.infer.server.student import Student
from asnn_goose.infer.text import read_vocabulary
from asnn_goose.model.parts.precision import Precision

END = "<|endoftext|>"
TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}<|endoftext|>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
LIMITS = Limits(slots=4, queue=4, prompt=512, tokens=2000, body=100_000, slice=4)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    try:
        native_module()
    except EngineError:
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="no compiled engine"))


def make_folder(folder: Path, *, seed: int = 0, template: str | None = TEMPLATE) -> Path:
    precision = Precision(planes=1, steps=3, threshold=4.0, rotate=True)
    write_packed(folder, *random_student(SHAPES["tiny"], precision, seed=seed))
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={letter: n for n, letter in enumerate(letters)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([END])
    core.save(str(folder / "tokenizer.json"))
    if template is not None:
        (folder / "chat_template.jinja").write_text(template)
    return folder


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def other_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another student, which was made from no instruct teacher."""
    return make_folder(tmp_path_factory.mktemp("other"), seed=1, template=None)


@pytest.fixture(scope="session")
def engine(folder: Path) -> Engine:
    return Engine.load(folder, threads=1)


@pytest.fixture(scope="session")
def other_engine(other_folder: Path) -> Engine:
    return Engine.load(other_folder, threads=1)


@dataclass(frozen=True)
class Server:
    """A running server, and ways to call it."""

    url: str
    students: list[Student]
    key: str = "none"

    @property
    def student(self) -> Student:
        return self.students[0]

    @property
    def client(self) -> OpenAI:
        return OpenAI(base_url=f"{self.url}/v1", api_key=self.key, max_retries=0)

    def post(self, path: str, body: Any, **options: Any) -> httpx.Response:
        return httpx.post(f"{self.url}{path}", json=body, timeout=60, **options)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", timeout=60, **options)

    def eventually(self, holds: Callable[[], bool], *, seconds: float = 20) -> None:
        ends = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < ends, "did not come to pass"
            time.sleep(0.01)

    def is_idle(self) -> bool:
        return all(student.batcher.idle for student in self.students)


def make_student(
    folder: Path,
    *,
    name: str = "tiny",
    limits: Limits = LIMITS,
    memory: int = 1 << 24,
    states: Path | None = None,
) -> Student:
    engine = Engine.load(folder, threads=1)
    kept = None if states is None else StateFolder(states, engine, limit=1 << 30)
    return Student(
        name,
        engine,
        read_vocabulary(folder, engine.model.config),
        template=read_chat_template(folder),
        store=StateStore(engine, memory=memory, folder=kept),
        limits=limits,
        costs=serving_costs(engine.model),
    )


@contextmanager
def running(students: list[Student], limits: Limits, access: Access) -> Iterator[Server]:
    app = make_app(students, limits=limits, access=access)
    config = uvicorn.Config(app, port=0, log_level="warning", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server has not started"
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Server(f"http://127.0.0.1:{port}", students, (access.keys or ("none",))[0])
    finally:
        server.should_exit = True
        thread.join()


Serve = Callable[..., Server]


@pytest.fixture
def serve(folder: Path) -> Iterator[Serve]:
    """Start a server of the tiny student, or of given ones, with settings of its own."""
    with ExitStack() as stack:

        def start(
            *students: Student,
            limits: Limits = LIMITS,
            access: Access = Access(),  # noqa: B008 - it is frozen
            **settings: Any,
        ) -> Server:
            served = list(students) or [make_student(folder, limits=limits, **settings)]
            return stack.enter_context(running(served, limits, access))

        yield start


@pytest.fixture(scope="module")
def endless(folder: Path, other_folder: Path) -> Iterator[Server]:
    """Both students, which go on until they may not."""
    students = [make_student(folder), make_student(other_folder, name="other")]
    for student in students:
        student.vocabulary = replace(student.vocabulary, ends=frozenset())
    with running(students, LIMITS, Access()) as found:
        yield found


@pytest.fixture(scope="session")
def server(folder: Path, other_folder: Path) -> Iterator[Server]:
    """One server for all tests that only ask: the tiny student, and one that cannot chat."""
    students = [make_student(folder), make_student(other_folder, name="other")]
    with running(students, LIMITS, Access()) as found:
        yield found
