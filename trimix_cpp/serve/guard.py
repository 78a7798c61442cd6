"""Who may ask: names of this machine, origins of pages, keys. Every request passes here first."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import RequestError, error_response
from .metrics import Metrics

# What needs no key: the page, and what says nothing of what is computed.
_OPEN = frozenset({"/", "/health", "/v1/health", "/languages", "/frontend/settings"})
_OPEN_BELOW = "/page/"
# LibreTranslate's clients send their key in the body: these routes look for it there.
_KEY_IN_BODY = frozenset({"/translate", "/detect"})
KEY_IS_GOOD = "trimix.key_is_good"

# For the page; other answers are no pages. Nothing comes from elsewhere, nothing frames it.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data: blob:; connect-src 'self'; font-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}


@dataclass(frozen=True)
class Access:
    """Who may ask.

    Attributes:
        names: hosts that a request may be addressed to; None for any. Without this a page of a
            stranger could reach a server on loopback under a name of its own that it lets point
            there (DNS rebinding).
        origins: pages of other servers that may ask.
        keys: one of them must come with a request; none are needed if there are none.
    """

    names: frozenset[str] | None = None
    origins: frozenset[str] = frozenset()
    keys: tuple[str, ...] = ()

    def knows(self, key: bytes) -> bool:
        """Whether it is one of the keys; it takes the same time whichever it resembles."""
        if not self.keys:
            return True
        digest = hashlib.sha256(key).digest()
        good = False
        for known in self.keys:
            good |= hmac.compare_digest(hashlib.sha256(known.encode()).digest(), digest)
        return good

    def is_named(self, host: str) -> bool:
        """Whether a Host header means this server."""
        if self.names is None:
            return True
        name = _name(host)
        return name in self.names or name.endswith(".localhost") or is_loopback(name)

    def may_come_from(self, origin: str, host: str) -> bool:
        """Whether a page of this origin may ask.

        Extensions of browsers have origins of their own; they are programs that a user installed.
        """
        if origin in self.origins or "*" in self.origins:
            return True
        scheme, _, rest = origin.partition("://")
        if scheme not in ("http", "https"):
            return origin != "null"
        return rest.lower() == host.lower()


def is_loopback(name: str) -> bool:
    """Whether a host's name or address is this machine's loopback."""
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _name(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


class Guard:
    """Refuses what may not be, as ASGI middleware, and adds what every answer has."""

    def __init__(self, app: ASGIApp, access: Access, metrics: Metrics) -> None:
        self._app, self._access, self._metrics = app, access, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.responses.labels(str(message["status"])).inc()
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            self._check(scope)
        except RequestError as error:
            await error_response(error)(scope, receive, counted)
            return
        await self._app(scope, receive, counted)

    def _check(self, scope: Scope) -> None:
        headers, path = Headers(scope=scope), scope["path"]
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self._access.is_named(host):
            raise RequestError(
                "the Host header names another server; --allow-host permits names", status=403
            )
        if origin is not None and not self._access.may_come_from(origin, host):
            raise RequestError("pages of this origin may not ask; see --cors", status=403)
        key = headers.get("x-api-key", "")
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and given.strip():
            key = given.strip()
        good = self._access.knows(key.encode("latin-1"))  # as it came
        scope[KEY_IS_GOOD] = good
        if good or path in _OPEN or path in _KEY_IN_BODY or path.startswith(_OPEN_BELOW):
            return
        raise RequestError("Invalid API Key", status=401, headers={"WWW-Authenticate": "Bearer"})
