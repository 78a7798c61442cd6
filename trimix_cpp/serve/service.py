"""What the handlers of requests share."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from anyio import CapacityLimiter, to_thread
from starlette.requests import Request

from ..decoding import Control
from ..errors import TrimixError
from ..files import Closing
from ..runtime import DecodingFlags
from ..translate import Layout, Recipe
from .bodies import Bodies
from .channel import Channel
from .engine import Engine, UnavailableError
from .errors import RequestError
from .generation import Plan
from .guard import Access
from .job import Jobs
from .metrics import Metrics
from .translating import Exemplars, Translating, recipe_for
from .trios import Answers, Loaded

A = TypeVar("A")
T = TypeVar("T")
# Threads that tokenize, and read files.
_THREADS = 4


class Service(Closing):
    """One server's trio and what belongs to it.

    Args:
        flags: as the command was told.
        engine: computes.
        access: who may ask.
        control: whose probabilities control tokens have; None leaves it to the way of asking.
        exemplars: of translations, by languages.
        ping_seconds: of silence, after which a stream says that it is alive.

    Attributes:
        loaded: the trio as requests see it.
        bodies: reads requests.
        jobs: files that are translated.
        metrics: what is counted.
    """

    def __init__(
        self,
        flags: DecodingFlags,
        engine: Engine,
        *,
        access: Access,
        control: Control | None = None,
        exemplars: Exemplars | None = None,
        ping_seconds: float,
    ) -> None:
        self.flags, self.engine, self.control = flags, engine, control
        self._access, self._exemplars = access, exemplars or {}
        self.ping_seconds = ping_seconds
        self.metrics: Metrics = engine.metrics
        self.bodies, self.jobs = Bodies(), Jobs()
        self.created = int(time.time())
        self.loaded = Loaded(engine.trimix, Answers())
        # A chat template is rendered by one thread at a time.
        self._one, self._few = CapacityLimiter(1), CapacityLimiter(_THREADS)

    def translate(
        self, recipe: Recipe, layouts: Sequence[Layout]
    ) -> tuple[Translating, Channel[None]]:
        """Let the engine translate; the channel ends when all is there, or by what went wrong.

        Raises:
            UnavailableError: the engine takes nothing more.
        """
        ended = Channel[None]()
        task: Translating

        def tell(error: TrimixError | None) -> None:
            if error or task.finished:
                ended.end(error)

        task = Translating(self.loaded, recipe, layouts, tell)
        self.engine.submit(task)
        return task, ended

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

        return await self._run(work, self._one), loaded

    def recipe(self, source: str, target: str) -> Recipe:
        """What is asked of the models for a pair of languages; raises RequestError."""
        sampling = replace(self.flags.sampling, control=self.control or "fused")
        flags = replace(self.flags, sampling=sampling)
        return recipe_for(self.loaded, flags, source, target, self._exemplars)

    @property
    def needs_key(self) -> bool:
        """Whether a request needs a key."""
        return bool(self._access.keys)

    def knows(self, key: str) -> bool:
        """Whether a key is good."""
        return self._access.knows(key.encode("utf-8", "replace"))

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Run what takes a while and touches no template.

        Raises:
            RequestError: what a client sent cannot be used.
        """
        return await self._run(work, self._few)

    @staticmethod
    async def _run(work: Callable[[], T], limiter: CapacityLimiter) -> T:
        try:
            return await to_thread.run_sync(work, limiter=limiter)
        except (RequestError, UnavailableError):
            raise
        except TrimixError as error:
            raise RequestError(str(error)) from None

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
        self.jobs.close()
        self.loaded.close()


def service_of(request: Request) -> Service:
    """The service that a request is for."""
    service: Service = request.app.state.service
    return service
