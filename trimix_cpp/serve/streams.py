"""Server-sent events: what comes is sent at once, silence is filled, and who leaves is noticed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

PING = b":\n\n"
DONE = b"data: [DONE]\n\n"
_HEADERS = {
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",  # nginx would hold back what comes
}


def event(document: Mapping[str, object]) -> bytes:
    """One event."""
    return b"data: " + msgspec.json.encode(document) + b"\n\n"


class EventStream(Response):
    """An answer that comes event by event.

    Args:
        events: the bytes of events.
        close: called at the end, however it comes.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes, None], close: Callable[[], None]) -> None:
        super().__init__(headers=_HEADERS)
        del self.headers["content-length"]
        self._events, self._close = events, close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            start = {"status": self.status_code, "headers": self.raw_headers}
            await send({"type": "http.response.start", **start})
            async for data in self._events:
                await send({"type": "http.response.body", "body": data, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._close()
