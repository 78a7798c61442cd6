"""The routes, with and without /v1."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from ..errors import TrimixError
from . import jobs, libretranslate, openai
from .bodies import LeftError
from .engine import UnavailableError
from .errors import RequestError, error_document, error_response
from .guard import Access, Guard
from .service import Service, service_of

log = logging.getLogger(__name__)

Endpoint = Callable[[Request], Awaitable[Response]]
PAGE = files(__package__) / "page"


def application(service: Service, access: Access) -> ASGIApp:
    """Everything that is served, behind its guard."""
    app = Starlette(routes=_routes(), exception_handlers={HTTPException: _refused})
    app.state.service = service
    guarded: ASGIApp = Guard(app, access, service.metrics)
    if access.origins:
        guarded = CORSMiddleware(
            guarded, allow_origins=sorted(access.origins), allow_methods=["*"], allow_headers=["*"]
        )
    return guarded


def _routes() -> list[BaseRoute]:
    both: list[tuple[str, Endpoint, str]] = [
        ("/models", openai.models, "GET"),
        ("/models/{name:path}", openai.model, "GET"),
        ("/chat/completions", openai.chat, "POST"),
        ("/completions", openai.completions, "POST"),
        ("/tokenize", openai.tokenize, "POST"),
        ("/detokenize", openai.detokenize, "POST"),
        ("/tokenizer_info", openai.tokenizer_info, "GET"),
        ("/health", health, "GET"),
        ("/metrics", metrics, "GET"),
        ("/props", props, "GET"),
    ]
    libre: list[tuple[str, Endpoint, str]] = [
        ("/translate", libretranslate.translate, "POST"),
        ("/detect", libretranslate.detected, "POST"),
        ("/languages", libretranslate.languages, "GET"),
        ("/frontend/settings", libretranslate.settings, "GET"),
    ]
    return [
        Route("/", _told(page), methods=["GET"]),
        *(
            Route(path, _told(endpoint, libretranslate.error_document), methods=[method])
            for path, endpoint, method in libre
        ),
        Route("/jobs", _told(jobs.create), methods=["POST"]),
        Route("/jobs/{id}", _told(jobs.status), methods=["GET"]),
        Route("/jobs/{id}", _told(jobs.delete), methods=["DELETE"]),
        Route("/jobs/{id}/segments", _told(jobs.segments), methods=["GET"]),
        Route("/jobs/{id}/file", _told(jobs.download), methods=["GET"]),
        Mount("/page", StaticFiles(directory=str(PAGE))),
        *(
            Route(prefix + path, _told(endpoint), methods=[method])
            for path, endpoint, method in both
            for prefix in ("/v1", "")
        ),
    ]


def _told(
    endpoint: Endpoint, document: Callable[[BaseException], dict[str, Any]] = error_document
) -> Endpoint:
    """The endpoint with every error told in the shape of its protocol: OpenAI's, or another."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except LeftError:
            return Response(status_code=499)  # nobody reads it
        except Exception as error:
            if not isinstance(error, TrimixError):
                log.debug("a defect", exc_info=error)
            return error_response(error, document)

    return answer


async def _refused(request: Request, error: Exception) -> Response:
    """What no route takes."""
    assert isinstance(error, HTTPException)
    said = {404: "there is nothing at this address", 405: "this address wants another method"}
    message = said.get(error.status_code, str(error.detail))
    headers = dict(error.headers or {})
    return error_response(RequestError(message, status=error.status_code, headers=headers))


async def page(request: Request) -> Response:
    """`GET /`: the page."""
    return FileResponse(str(PAGE / "index.html"))


async def health(request: Request) -> Response:
    """`GET /health`: whether requests are taken."""
    if service_of(request).engine.state != "ready":
        raise UnavailableError("the server is about to end")
    return JSONResponse({"status": "ok"})


async def metrics(request: Request) -> Response:
    """`GET /metrics`: counters for Prometheus."""
    return Response(service_of(request).metrics.document(), media_type="text/plain; version=0.0.4")


async def props(request: Request) -> Response:
    """`GET /props`: what is served."""
    return JSONResponse(service_of(request).props())
