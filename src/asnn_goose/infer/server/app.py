"""The application: OpenAI's endpoints, and a few beside them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

from asnn_goose import __version__
from asnn_goose.infer.server import error_answers
from asnn_goose.infer.server.answers import Kind, Scribe, server_sent
from asnn_goose.infer.server.ask import ask_of_chat, ask_of_completion, chat_text
from asnn_goose.infer.server.error_answers import ApiError, bad_fields
from asnn_goose.infer.server.gate import Gate
from asnn_goose.infer.server.job import Ended, Event, Job, Piece
from asnn_goose.infer.server.metrics import Metrics
from asnn_goose.infer.server.requests import Chat, Completion, Drawing, Tokenize
from asnn_goose.infer.server.settings import Access, Limits
from asnn_goose.infer.server.streams import ClientGoneError, EventStream, unless_gone
from asnn_goose.infer.server.student import Ask, Student

PAGE = Path(__file__).parent / "playground"
POLICY = "default-src 'self'; style-src 'self'; img-src 'self' data:; frame-ancestors 'none'"
GONE = 499
"""What nginx calls a client that has closed its connection; nobody reads it."""

ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"description": "An error in OpenAI's form: `error` with message, type, param, code."}
    for status in ("4XX", "5XX")
}


class Api:
    """The endpoints on a few students, of which the first answers where none is named."""

    def __init__(self, students: Sequence[Student], metrics: Metrics) -> None:
        self._students = {student.name: student for student in students}
        self._metrics = metrics

    def router(self) -> APIRouter:
        """All of them."""
        router = APIRouter(responses=ERRORS)
        for path, endpoint in (
            ("/v1/models", self.models),
            ("/v1/models/{name}", self.model),
            ("/health", self.health),
            ("/metrics", self.metrics),
        ):
            router.add_api_route(path, endpoint, methods=["GET"], response_model=None)
        for path, action in (
            ("/v1/completions", self.completions),
            ("/v1/chat/completions", self.chat),
            ("/v1/embeddings", self.embeddings),
            ("/tokenize", self.tokenize),
        ):
            router.add_api_route(path, action, methods=["POST"], response_model=None)
        router.add_api_route("/", page, methods=["GET"], include_in_schema=False)
        return router

    async def models(self) -> dict[str, Any]:
        """The students that are served."""
        return {"object": "list", "data": [_described(s) for s in self._students.values()]}

    async def model(self, name: str) -> dict[str, Any]:
        """One student."""
        return _described(self._named(name))

    async def health(self) -> dict[str, Any]:
        """Whether the server works, and how much it has to do."""
        batchers = [student.batcher for student in self._students.values()]
        taken, waiting = sum(b.taken for b in batchers), sum(b.waiting for b in batchers)
        return {"status": "ok", "version": __version__, "slots_taken": taken, "waiting": waiting}

    async def metrics(self) -> Response:
        """For Prometheus."""
        return Response(self._metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def completions(self, body: Completion, request: Request) -> Any:
        """Go on with a text."""
        student = self._named(body.model)
        # In a thread: tokenising a long text would hold up every stream.
        ask = await asyncio.to_thread(ask_of_completion, student, body)
        return await self._answer(student, "text", body, ask, request)

    async def chat(self, body: Chat, request: Request) -> Any:
        """Answer in a conversation."""
        student = self._named(body.model)
        ask = await asyncio.to_thread(ask_of_chat, student, body)
        return await self._answer(student, "chat", body, ask, request)

    async def embeddings(self) -> None:
        """Not offered: a student's hidden state was not trained to compare texts by."""
        message = "embeddings are not offered: students are trained to write, not to compare texts"
        raise ApiError(501, message, code="not_offered")

    async def tokenize(self, body: Tokenize) -> dict[str, Any]:
        """Tokens of a text or, with its template, of a conversation."""
        student, bad = self._named(body.model), list[tuple[str, str]]()
        if body.text is not None:
            ids = await asyncio.to_thread(student.vocabulary.ids, body.text)
        else:
            messages = [message.message for message in body.messages or []]
            text = await asyncio.to_thread(chat_text, student, messages, bad)
            ids = await asyncio.to_thread(student.vocabulary.ids, text)
        if bad:
            raise bad_fields(bad)
        return {"model": student.name, "tokens": ids, "count": len(ids)}

    def _named(self, name: str) -> Student:
        if not name:
            return next(iter(self._students.values()))
        if name not in self._students:
            message = f"{name!r} is not served: choose {' or '.join(self._students)}"
            raise ApiError(404, message, code="model_not_found", fields=[("model", message)])
        return self._students[name]

    async def _answer(
        self, student: Student, kind: Kind, body: Drawing, ask: Ask, request: Request
    ) -> Any:
        scribe = Scribe(
            kind,
            model=student.name,
            fingerprint=student.fingerprint,
            vocabulary=student.vocabulary,
            activity=student.activity,
            logprobs=ask.manner.logprobs is not None,
        )
        events = self._events(student, ask, scribe)
        try:
            if not body.stream:
                return await unless_gone(request, _whole(events, scribe))
            # An ask that is turned away must be so before the stream has begun with status 200.
            first = await unless_gone(request, anext(events))
        except ClientGoneError:
            return Response(status_code=GONE)
        usage = body.stream_options is not None and body.stream_options.include_usage
        choices = len(ask.prompts) * ask.count
        return EventStream(_chunks(events, first, scribe, choices=choices, usage=usage))

    async def _events(
        self, student: Student, ask: Ask, scribe: Scribe
    ) -> AsyncGenerator[tuple[Job, Event], None]:
        """What happens to an ask, written down and counted on the way."""
        started, first = time.monotonic(), True
        try:
            async with aclosing(student.answer(ask)) as events:
                async for job, event in events:
                    scribe.see(job, event)
                    if isinstance(event, Piece) and first:
                        first = False
                        seconds = time.monotonic() - started
                        self._metrics.first.labels(student.name).observe(seconds)
                    # The client will send this answer back with its next turn; read now, that turn
                    # begins at once.
                    if isinstance(event, Ended) and ask.text is not None:
                        said = scribe.text(event.choice)
                        await student.settle(ask.text + said, event.read)
                    yield job, event
        finally:
            for name in ("prompt", "cached", "drawn"):
                count = getattr(scribe.usage, name)
                self._metrics.tokens.labels(student.name, name).inc(count)


async def _whole(events: AsyncGenerator[tuple[Job, Event], None], scribe: Scribe) -> dict[str, Any]:
    async with aclosing(events):
        async for _ in events:
            pass
    return scribe.whole()


async def _chunks(
    events: AsyncGenerator[tuple[Job, Event], None],
    first: tuple[Job, Event],
    scribe: Scribe,
    *,
    choices: int,
    usage: bool,
) -> AsyncGenerator[str, None]:
    """The text of a stream; an error that comes too late for a status is its last event."""
    async with aclosing(events):
        yield scribe.opening(choices)
        yield scribe.chunk(first[1])
        try:
            async for _, event in events:
                yield scribe.chunk(event)
        except ApiError as error:
            yield server_sent(error.body)
        else:
            yield scribe.closing(usage=usage)


async def page() -> FileResponse:
    """The playground."""
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}
    return FileResponse(PAGE / "index.html", headers=headers)


def _described(student: Student) -> dict[str, Any]:
    state, costs, activity = student.engine.start(), student.costs, student.activity
    return {
        "id": student.name,
        "object": "model",
        "created": student.created,
        "owned_by": "asnn-goose",
        "asnn_goose": {
            "chat": student.template is not None,
            "layers": activity.layers,
            "matrices": activity.matrices,
            "state_bytes": state.nbytes,
            "kv_bytes_per_token": costs.kv_bytes,
            "dense_picojoules": costs.dense_picojoules,
            "most_tokens": student.limits.tokens,
        },
    }


def make_app(students: Sequence[Student], *, limits: Limits, access: Access) -> FastAPI:
    """The application on these students, whose engines run while it does."""
    metrics = Metrics(students)

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for student in students:
                student.open()
                stack.push_async_callback(asyncio.to_thread, student.close)
            yield

    app = FastAPI(
        title="ASNN-Goose",
        version=__version__,
        lifespan=life,
        docs_url=None,  # these pages would fetch their scripts from elsewhere
        redoc_url=None,
    )
    error_answers.install(app)
    app.include_router(Api(students, metrics).router())
    app.mount("/playground", StaticFiles(directory=PAGE), name="playground")
    app.add_middleware(Gate, limits=limits, access=access, seen=metrics.seen)
    if access.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(access.origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type"],
        )
    return app
