"""Connections within bounds: how many, how long a client may take to ask and to listen."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

MOST = 512
HEAD_BYTES = 32 << 10
HEAD_SECONDS = 10.0
# A client that reads nothing of what it is sent for so long is gone.
WRITE_SECONDS = 60.0
KEEP_ALIVE_SECONDS = 30
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 5\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%s"
)
_FULL_BODY = (
    b'{"error":{"message":"too many connections","type":"unavailable_error",'
    b'"param":null,"code":503}}'
)


class Connection(H11Protocol):
    """uvicorn's connection, which ends where a client takes too long."""

    _timer: asyncio.TimerHandle | None = None
    _writing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has come; one too many is told so and left."""
        super().connection_made(cast(asyncio.Transport, transport))
        if len(self.connections) > MOST:
            self.transport.write(_FULL % (len(_FULL_BODY), _FULL_BODY))
            self.transport.close()
            self._end_later()
            return
        self._arm()

    def data_received(self, data: bytes) -> None:
        """Something came; a head that has begun must come to its end."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._arm()
        else:
            self._disarm()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed."""
        self._disarm()
        if self._writing:
            self._writing.cancel()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client does not read what it is sent."""
        super().pause_writing()
        self._end_later()

    def resume_writing(self) -> None:
        """It reads again."""
        if self._writing:
            self._writing.cancel()
            self._writing = None
        super().resume_writing()

    def on_response_complete(self) -> None:
        """An answer is written, though perhaps not read."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._end_later()

    def _arm(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(HEAD_SECONDS, self._late)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        self._timer = None
        self.transport.abort()

    def _end_later(self) -> None:
        if self._writing is None:
            self._writing = self.loop.call_later(WRITE_SECONDS, self.transport.abort)


def config_of(app: Any, grace: float) -> dict[str, Any]:
    """Settings of uvicorn."""
    return {
        "app": app,
        "http": Connection,
        "ws": "none",
        "loop": "asyncio",
        "lifespan": "off",
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "h11_max_incomplete_event_size": HEAD_BYTES,
        "timeout_keep_alive": KEEP_ALIVE_SECONDS,
        "timeout_graceful_shutdown": int(grace) + 3,
    }
