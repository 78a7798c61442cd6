"""Errors as OpenAI's clients expect them: one shape, a status that says whose fault it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.responses import JSONResponse

from ..errors import ContextFullError, TrimixError, UsageError
from .engine import UnavailableError

# Status -> what llama-server and OpenAI call it.
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    413: "invalid_request_error",
    503: "unavailable_error",
}


class RequestError(TrimixError):
    """The client's mistake.

    Attributes:
        param: the field that is wrong, None where it is no field's.
        kind: OpenAI's `type`, None for the status's own.
        more: further fields of the error.
        headers: of the answer.
    """

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        status: int = 400,
        kind: str | None = None,
        more: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.param, self.status, self.kind = param, status, kind
        self.more, self.headers = more or {}, headers or {}


def too_long(n_prompt: int, n_ctx: int, field: str) -> RequestError:
    """The prompt does not fit into the context."""
    return RequestError(
        f"the prompt has {n_prompt} tokens and the context holds {n_ctx}: shorten it, or serve "
        "with a larger -c",
        param=field,
        kind="exceed_context_size_error",
        more={"n_prompt_tokens": n_prompt, "n_ctx": n_ctx},
    )


def status_of(error: BaseException) -> int:
    """The status that tells of an error."""
    if isinstance(error, RequestError):
        return error.status
    if isinstance(error, UnavailableError):
        return 503
    return 400 if isinstance(error, (UsageError, ContextFullError)) else 500


def error_document(error: BaseException) -> dict[str, Any]:
    """The error in OpenAI's shape."""
    status = status_of(error)
    kind, param, more = _TYPES.get(status, "server_error"), None, {}
    if isinstance(error, RequestError):
        kind, param, more = error.kind or kind, error.param, error.more
    return {"error": {"message": told(error), "type": kind, "param": param, "code": status, **more}}


def told(error: BaseException) -> str:
    """An error for the client; what is no user's affair in general words."""
    return str(error) if isinstance(error, TrimixError) else "the program failed"


def error_response(
    error: BaseException, document: Callable[[BaseException], dict[str, Any]] = error_document
) -> JSONResponse:
    """The answer that tells of an error, in the shape that `document` gives it."""
    headers: dict[str, str] = {}
    if isinstance(error, UnavailableError):
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, RequestError):
        headers.update(error.headers)
    return JSONResponse(document(error), status_of(error), headers)
