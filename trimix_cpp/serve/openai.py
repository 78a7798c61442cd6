"""OpenAI's protocol: models, chat completions, completions; and llama-server's tokenize."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..decoding import Event
from ..runtime import DecodingFlags
from .answers import Form
from .bodies import LeftError, leaving
from .errors import RequestError, error_document
from .generation import Generation, Plan, chat_plan, completion_plan
from .requests import Asked, ChatAsked, CompletionAsked, read
from .service import Service, service_of
from .streams import DONE, PING, EventStream, event
from .trios import Loaded

A = TypeVar("A", bound=Asked)
Planner = Callable[[Loaded, DecodingFlags, A, str], Plan]


async def models(request: Request) -> Response:
    """`GET /v1/models`: the one trio that is served."""
    return JSONResponse({"object": "list", "data": [service_of(request).model_document()]})


async def model(request: Request) -> Response:
    """`GET /v1/models/NAME`: any name means the trio that is served."""
    return JSONResponse(service_of(request).model_document(request.path_params["name"]))


async def chat(request: Request) -> Response:
    """`POST /v1/chat/completions`."""
    return await _answer(request, ChatAsked, chat_plan, "large", "chat.completion")


async def completions(request: Request) -> Response:
    """`POST /v1/completions`."""
    return await _answer(request, CompletionAsked, completion_plan, "fused", "text_completion")


async def _answer(
    request: Request, kind: type[A], planner: Planner[A], control: str, answered_as: str
) -> Response:
    service = service_of(request)
    service.engine.check()
    asked = read(await service.bodies.read(request), kind)
    plan, loaded = await service.planned(planner, asked, control)
    task = Generation(plan, loaded.answers)
    form = Form(loaded, plan, asked.model, answered_as)
    return await Answering(service, task, form).response(request, asked)


class Answering:
    """One request on its way through the engine."""

    def __init__(self, service: Service, task: Generation, form: Form) -> None:
        self._service, self._task, self._form = service, task, form

    async def response(self, request: Request, asked: Asked) -> Response:
        """The answer, or the beginning of it."""
        began = asyncio.get_running_loop().time()
        self._service.engine.submit(self._task)
        watch = leaving(request, self._task.events)

        def leave() -> None:
            watch.close()
            self._service.engine.cancel(self._task)

        handed_over = False
        try:
            first = await self._first(self._service.ping_seconds if asked.stream else None)
            if first is not None:
                seconds = asyncio.get_running_loop().time() - began
                self._service.metrics.first_token.observe(seconds)
            if asked.stream:
                handed_over = True
                return EventStream(self._events(first, asked), leave)
            while first is not None:
                self._form.add(first)
                first = await self._task.events.get()
            return JSONResponse(self._form.document())
        finally:
            if not handed_over:
                leave()

    async def _first(self, seconds: float | None) -> Event | None:
        """The first event: what is wrong with the request is told by an ordinary answer."""
        try:
            return await self._task.events.get(seconds)
        except asyncio.TimeoutError:
            return None

    async def _events(self, first: Event | None, asked: Asked) -> AsyncGenerator[bytes, None]:
        """A stream's events; one that does not get to its end tells why, and has no [DONE]."""
        try:
            if first is None:
                yield PING
            else:
                for chunk in self._form.chunks(first):
                    yield event(chunk)
            while True:
                try:
                    each = await self._task.events.get(self._service.ping_seconds)
                except asyncio.TimeoutError:
                    yield PING
                    continue
                if each is None:
                    break
                for chunk in self._form.chunks(each):
                    yield event(chunk)
            if asked.wants_usage:
                yield event(self._form.usage_chunk())
            yield DONE
        except LeftError:
            return
        except Exception as error:
            yield event(error_document(error))


async def tokenize(request: Request) -> Response:
    """`POST /tokenize`: of `content` (llama-server) or `prompt` (vLLM)."""
    service = service_of(request)
    asked = read(await service.bodies.read(request), Tokenize)
    text = asked.content if asked.content is not None else asked.prompt
    if text is None:
        raise RequestError("content is missing", param="content")
    loaded = service.loaded
    vllm = asked.content is None
    special = asked.add_special if asked.add_special is not None else asked.add_special_tokens
    if special is None:
        special = vllm
    parse = asked.parse_special is not False

    def work() -> list[int]:
        return loaded.trimix.trio.tokenize(text, add_special=special, parse_special=parse)

    tokens = await service.in_thread(work)
    ids: list[Any] = loaded.to_ids(tokens)
    if asked.with_pieces:
        pieces = (loaded.bytes_of(token).decode("utf-8", "replace") for token in tokens)
        ids = [{"id": each, "piece": piece} for each, piece in zip(ids, pieces, strict=True)]
    return JSONResponse({"tokens": ids, "count": len(ids), "max_model_len": loaded.trimix.n_ctx})


async def tokenizer_info(request: Request) -> Response:
    """`GET /tokenizer_info`, as vLLM's: with it lm-eval needs no tokenizer of its own."""
    loaded = service_of(request).loaded
    template = loaded.prompter.template
    return JSONResponse(
        {
            "tokenizer_class": "llama.cpp",
            "bos_token": template.bos or None,
            "eos_token": template.eos or None,
            "pad_token": template.eos or None,
            "chat_template": template.source,
            "model_max_length": loaded.trimix.n_ctx,
        }
    )


async def detokenize(request: Request) -> Response:
    """`POST /detokenize`."""
    service = service_of(request)
    asked = read(await service.bodies.read(request), Detokenize)
    loaded = service.loaded
    text = loaded.text_of(loaded.from_ids(asked.tokens))
    return JSONResponse({"content": text, "prompt": text})


class Tokenize(msgspec.Struct, kw_only=True):
    """What is asked of `/tokenize`."""

    content: str | None = None
    prompt: str | None = None
    add_special: bool | None = None
    add_special_tokens: bool | None = None
    parse_special: bool | None = None
    with_pieces: bool | None = None


class Detokenize(msgspec.Struct, kw_only=True):
    """What is asked of `/detokenize`."""

    tokens: list[int]
