"""What OpenAI's clients send, read leniently: null is absent, what is not known is ignored."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from ..fusion import Weights
from ..runtime import DecodingFlags
from .errors import RequestError

R = TypeVar("R")

MOST_CHOICES = 128
_Share = Annotated[float, Meta(ge=0, le=1)]
_Numbers = list[float] | dict[str, float]


class Extra(msgspec.Struct, kw_only=True):
    """What we add to the protocol: the field `trimix` of a request.

    Attributes:
        weights: as --weights, or numbers: [0.3, 0.9], {"alpha": 0.3, "beta": 0.9}.
        method, strength, plausibility, task, control: as the flags of the commands.
        roles: with `logprobs`: what each role gave every token too.
    """

    weights: str | _Numbers | None = None
    method: str | None = None
    strength: Annotated[float, Meta(ge=-100, le=100)] | None = None
    plausibility: str | None = None
    task: str | None = None
    control: str | None = None
    roles: bool | None = None


class StreamOptions(msgspec.Struct, kw_only=True):
    """`stream_options`."""

    include_usage: bool | None = None


class Asked(msgspec.Struct, kw_only=True):
    """What both ways of asking have in common."""

    model: str | None = None
    max_tokens: Annotated[int, Meta(ge=-1)] | None = None
    max_completion_tokens: Annotated[int, Meta(ge=-1)] | None = None
    n_predict: Annotated[int, Meta(ge=-1)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=1000)] | None = None
    top_p: _Share | None = None
    min_p: _Share | None = None
    top_k: Annotated[int, Meta(ge=-1)] | None = None
    repeat_penalty: Annotated[float, Meta(gt=0, le=1000)] | None = None
    repetition_penalty: Annotated[float, Meta(gt=0, le=1000)] | None = None
    repeat_last_n: Annotated[int, Meta(ge=-1)] | None = None
    seed: int | None = None
    stop: str | list[str | None] | None = None
    n: Annotated[int, Meta(ge=1, le=MOST_CHOICES)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    ignore_eos: bool | None = None
    logit_bias: dict[str, float] | list[tuple[int | str, float]] | None = None
    trimix: Extra | None = None

    @property
    def limit(self) -> int | None:
        """Most tokens to generate; the newest name of it counts, -1 is none."""
        names = (self.max_completion_tokens, self.max_tokens, self.n_predict)
        limit = next((value for value in names if value is not None), None)
        return None if limit == -1 else limit

    @property
    def stops(self) -> tuple[str, ...]:
        """The strings that end it; empty ones mean nothing."""
        stops = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return tuple(stop for stop in stops if stop)

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with a chunk that counts tokens."""
        return bool(self.stream_options and self.stream_options.include_usage)

    @property
    def extra(self) -> Extra:
        """What is asked beyond the protocol."""
        return self.trimix or Extra()


class ChatAsked(Asked, kw_only=True):
    """`/v1/chat/completions`."""

    messages: list[Any]
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    tools: list[Any] | None = None
    tool_choice: Any = None
    functions: list[Any] | None = None
    response_format: dict[str, Any] | None = None
    chat_template_kwargs: dict[str, Any] | None = None


class CompletionAsked(Asked, kw_only=True):
    """`/v1/completions`."""

    prompt: Any = None
    echo: bool | None = None
    logprobs: Annotated[int, Meta(ge=0, le=100)] | None = None
    suffix: str | None = None
    best_of: int | None = None


def read(body: bytes, kind: type[R]) -> R:
    """The request that a body is.

    Raises:
        RequestError: it is no JSON, or a field is of the wrong kind; it is named.
    """
    try:
        return msgspec.json.decode(body, type=kind, strict=False)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at ")
        field = where.strip("`").removeprefix("$").removeprefix(".")
        raise RequestError(f"{field or 'the request'}: {what}", param=field or None) from None
    except (msgspec.DecodeError, UnicodeError) as error:
        raise RequestError(f"the request is no JSON: {error}") from None
    except RecursionError:
        raise RequestError("the request is nested too deeply") from None


def flags_for(
    flags: DecodingFlags, asked: Asked, *, control: str, limit: int | None
) -> DecodingFlags:
    """The server's own flags with what a request says over them.

    `control` holds where the request does not name one, `limit` is the most tokens; None takes the
    server's.

    Raises:
        RequestError: a value means nothing.
    """
    extra = asked.extra
    said: dict[str, Any] = {
        "temperature": asked.temperature,
        "top_p": asked.top_p,
        "min_p": asked.min_p,
        "top_k": None if asked.top_k is None else max(asked.top_k, 0),
        "repeat_penalty": asked.repeat_penalty or asked.repetition_penalty,
        "repeat_last_n": asked.repeat_last_n,
        # -1 draws one; another number below 0 is a seed too.
        "seed": None if asked.seed in (None, -1) else asked.seed % 2**64,
        "max_tokens": limit,
    }
    chosen: Any = extra.control or control
    if chosen not in ("large", "fused"):
        raise RequestError("trimix.control is large or fused", param="trimix.control")
    sampled = replace(
        flags.sampling,
        **{name: value for name, value in said.items() if value is not None},
        stops=(*flags.sampling.stops, *asked.stops),
        control=chosen,
    )
    weighed = flags.weights
    if extra.weights is not None:
        weighed = replace(weighed, weights=_weights(extra.weights), task=None)
    named: dict[str, Any] = {
        "method": extra.method,
        "strength": extra.strength,
        "plausibility": extra.plausibility,
        "task": extra.task,
    }
    weighed = replace(weighed, **{k: v for k, v in named.items() if v is not None})
    return replace(flags, sampling=sampled, weights=weighed)


def _weights(said: str | _Numbers) -> str | Weights:
    if isinstance(said, str):
        return said
    try:
        return Weights.of(said)
    except ValueError as error:
        raise RequestError(f"trimix.weights: {error}", param="trimix.weights") from None
