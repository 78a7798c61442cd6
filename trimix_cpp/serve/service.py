"""What the handlers of requests share."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from anyio import CapacityLimiter, to_thread
from starlette.requests import Request

from ..errors import TrimixError
from ..files import Closing
from ..runtime import DecodingFlags
from .bodies import Bodies
from .engine import Engine, UnavailableError
from .errors import RequestError
from .generation import Plan
from .metrics import Metrics
from .trios import Answers, Loaded

A = TypeVar("A")
T = TypeVar("T")
# Threads that tokenize, and read files.
_THREADS = 4


class Service(Closing):
    """One server's trio and what belongs to it.

    Args:
        flags: as the command was told.
        control: whose probabilities control tokens have; None leaves it to the way of asking.
        engine: computes.
        ping_seconds: of silence, after which a stream says that it is alive.

    Attributes:
        loaded: the trio as requests see it.
        bodies: reads requests.
        metrics: what is counted.
    """

    def __init__(
        self,
        flags: DecodingFlags,
        engine: Engine,
        *,
        control: str | None = None,
        ping_seconds: float = 15.0,
    ) -> None:
        self.flags, self.engine, self.control = flags, engine, control
        self.ping_seconds = ping_seconds
        self.metrics: Metrics = engine.metrics
        self.bodies = Bodies()
        self.created = int(time.time())
        self.loaded = Loaded(engine.trimix, Answers())
        # A chat template is rendered by one thread at a time.
        self._one, self._few = CapacityLimiter(1), CapacityLimiter(_THREADS)

    async def planned(
        self, planner: Callable[[Loaded, DecodingFlags, A, str], Plan], asked: A, control: str
    ) -> tuple[Plan, Loaded]:
        """What a request asks for.

        Raises:
            RequestError: the client's mistake.
        """
        loaded = self.loaded
        control = self.control or control

        def work() -> Plan:
            return planner(loaded, self.flags, asked, control)

        try:
            return await to_thread.run_sync(work, limiter=self._one), loaded
        except (RequestError, UnavailableError):
            raise
        except TrimixError as error:
            raise RequestError(str(error)) from None

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Run what takes a while and touches no template."""
        return await to_thread.run_sync(work, limiter=self._few)

    def model_document(self, name: str | None = None) -> dict[str, Any]:
        """The trio as `/v1/models` lists it."""
        trimix = self.loaded.trimix
        return {
            "id": name or trimix.spec.name,
            "object": "model",
            "created": self.created,
            "owned_by": "trimix-cpp",
            "meta": {
                "n_ctx": trimix.n_ctx,
                "n_vocab": trimix.n_tokens,
                "roles": list(trimix.trio.roles),
                "weights": trimix.weights.as_json(),
                "languages": list(trimix.spec.languages),
            },
        }

    def props(self) -> dict[str, Any]:
        """What a page wants to know at its start, as llama-server's `/props` and more."""
        loaded = self.loaded
        trimix = loaded.trimix
        return {
            "model_alias": trimix.spec.name,
            "total_slots": self.engine.n_parallel,
            "n_ctx": trimix.n_ctx,
            "default_generation_settings": {"n_ctx": trimix.n_ctx},
            "chat_template": loaded.prompter.template.source,
            "bos_token": loaded.prompter.template.bos,
            "eos_token": loaded.prompter.template.eos,
            "trimix": {
                "weights": trimix.weights.as_json(),
                "presets": {k: w.as_json() for k, w in trimix.spec.presets.items()},
                "roles": list(trimix.trio.roles),
                "files": list(trimix.spec.roles),
                "languages": list(trimix.spec.languages),
                "scripts": list(trimix.spec.scripts),
                "bundled": trimix.spec.bundled,
            },
        }

    def close(self) -> None:
        """Let go of the template's process."""
        self.loaded.close()


def service_of(request: Request) -> Service:
    """The service that a request is for."""
    service: Service = request.app.state.service
    return service
