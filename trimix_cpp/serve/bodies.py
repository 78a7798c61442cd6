"""Reading what a client sends, within bounds of size and time, and noticing that it left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive

from ..files import Closing
from .channel import Channel
from .engine import UnavailableError
from .errors import RequestError

# A request has a prompt of at most some thousand tokens, or some of them.
MOST_BYTES = 8 << 20
_MOST_SECONDS = 60.0
# Bodies that are read at the same time, all together.
_MOST_AT_ONCE = 256 << 20


class LeftError(Exception):
    """The client has closed the connection."""


class Bodies:
    """Reads bodies; what is held of all of them is bounded."""

    def __init__(self) -> None:
        self._held = 0

    async def read(self, request: Request, most: int = MOST_BYTES) -> bytes:
        """The body of a request.

        Raises:
            RequestError: it is too long (413), or takes too long.
            UnavailableError: too much is being read.
            LeftError: the client closed the connection.
        """
        declared = request.headers.get("content-length", "0")
        if declared.isdecimal() and int(declared) > most:
            raise _too_large(most)
        data = bytearray()

        async def collect() -> None:
            async for chunk in request.stream():
                data.extend(chunk)
                self._held += len(chunk)
                if len(data) > most:
                    raise _too_large(most)
                if self._held > _MOST_AT_ONCE:
                    raise UnavailableError("too much is being sent at once", retry_after=5)

        try:
            await asyncio.wait_for(collect(), _MOST_SECONDS)
        except asyncio.TimeoutError:
            raise RequestError(
                f"the body did not come within {_MOST_SECONDS:g} seconds",
                status=408,
                headers={"Connection": "close"},
            ) from None
        except ClientDisconnect:
            raise LeftError from None
        finally:
            self._held -= len(data)
        return bytes(data)


def _too_large(most: int) -> RequestError:
    return RequestError(
        f"the body is larger than {most >> 20} MiB",
        status=413,
        headers={"Connection": "close"},
    )


class Leaving(Closing):
    """Tells when the client of a request leaves, from when its body has been read; until `close`.

    Args:
        receive: of the request.
        tell: called when it left.
    """

    def __init__(self, receive: Receive, tell: Callable[[], None]) -> None:
        self._receive, self._tell = receive, tell
        self._task = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._tell()

    def close(self) -> None:
        """Look no longer."""
        self._task.cancel()


def leaving(request: Request, channel: Channel[Any]) -> Leaving:
    """Ends a channel with LeftError when the client leaves."""
    return Leaving(request.receive, lambda: channel.end(LeftError()))
