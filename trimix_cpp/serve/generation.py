"""A request for generated text: its texts as a task of the engine, and how they were asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..chat import OPEN, Answered, Prompter
from ..decoding import Event, Text, common_length
from ..errors import TrimixError
from ..fusion import ByAnswers, PromptScores
from ..runtime import DecodingFlags, Settings
from .channel import Channel
from .engine import Task
from .errors import RequestError, too_long
from .messages import messages_of, split_reply, wants_thinking
from .requests import Asked, ChatAsked, CompletionAsked, flags_for
from .trios import Answers, Loaded

_MOST_STOPS, _LONGEST_STOP = 64, 4096
_MOST_TEXTS = 4096


@dataclass
class Plan:
    """What a request asks for.

    Attributes:
        texts: one a choice, in order; the `tag` of each is its index.
        n: choices of each prompt.
        how: method and control, for the answer.
        seed: of the first choice.
        rendered: a chat's prompt as text; None elsewhere.
        inside: the reply begins within a thought.
        echoed: the prompts, where they are part of the answer, by choice.
        scores: of the echoed prompts' tokens, by choice.
    """

    texts: list[Text]
    n: int
    how: dict[str, Any]
    seed: int
    rendered: str | None = None
    inside: bool = False
    echoed: list[str] = field(default_factory=list)
    scores: list[PromptScores] = field(default_factory=list)


class Generation(Task):
    """The texts of a plan; their events go to whoever answers.

    Args:
        plan: the texts.
        answers: where a chat's is remembered.
    """

    def __init__(self, plan: Plan, answers: Answers) -> None:
        super().__init__()
        self.plan, self.events = plan, Channel[Event]()
        self._waiting = plan.texts[::-1]
        self._answers = answers

    def next(self) -> Text | None:
        """See `Task`."""
        return self._waiting.pop() if self._waiting else None

    @property
    def is_over(self) -> bool:
        """See `Task`."""
        return not self._waiting

    def take(self, event: Event) -> None:
        """See `Task`."""
        text = event.text
        text.raise_error()
        self.events.put(event)
        if text.stop and self.plan.rendered is not None:
            self._answers.add(Answered(self.plan.rendered, tuple(text.tokens), text.n_prompt))

    def end(self, error: TrimixError | None) -> None:
        """See `Task`."""
        self.events.end(error)


def chat_plan(loaded: Loaded, flags: DecodingFlags, asked: ChatAsked, control: str) -> Plan:
    """What a chat asks for.

    Raises:
        RequestError: the client's mistake; the template's own words where it refuses.
    """
    messages = messages_of(asked)
    before, begun = split_reply(messages)
    settings = _settings(loaded, flags, asked, control)
    prompter, think = loaded.prompter, wants_thinking(asked)
    rendered = _rendered(prompter, before, begun, think)
    last = loaded.answers.find(rendered)
    tokens = prompter.tokens(rendered, last)
    _check_length(loaded, tokens, asked.limit, "messages")
    if asked.top_logprobs and not asked.logprobs:
        raise RequestError("top_logprobs goes with logprobs", param="top_logprobs")
    choosing, known = settings.weighting.chooser, 0
    spans: list[tuple[int, int]] = []
    if isinstance(choosing, ByAnswers):
        spans = prompter.spans(before, tokens, think=think)
    elif choosing and last:
        known = max(common_length(last.tokens, tokens) - 1, 0)
    stops = (*settings.stops, *settings.spec.stops, *prompter.stops)

    def text(index: int) -> Text:
        chooser = choosing.of(spans) if isinstance(choosing, ByAnswers) else None
        return Text(
            tokens,
            settings.weighting.weights,
            _seeded(settings, index),
            settings.control,
            _limit(settings, asked),
            stops,
            chooser or (choosing(known) if choosing else None),
            settings.weighting.plausibility,
            n_top=asked.top_logprobs or 0 if asked.logprobs else None,
            ignore_ends=bool(asked.ignore_eos),
            by_role=bool(asked.extra.roles),
            tag=index,
        )

    return Plan(
        [text(index) for index in range(asked.n or 1)],
        asked.n or 1,
        _how(settings, flags, asked),
        settings.sampler.seed,
        rendered,
        inside=rendered.rstrip().endswith(OPEN),
    )


def _rendered(prompter: Prompter, before: Sequence[dict[str, str]], begun: str, think: bool) -> str:
    try:
        rendered = prompter.render(before, think=think)
    except TrimixError as error:
        raise RequestError(str(error), param="messages") from None
    if not begun:
        return rendered
    return rendered + prompter.shielded([{"content": begun}])[0]["content"]


def completion_plan(
    loaded: Loaded, flags: DecodingFlags, asked: CompletionAsked, control: str
) -> Plan:
    """What a completion asks for.

    Raises:
        RequestError: the client's mistake.
    """
    if asked.suffix:
        raise RequestError("suffix is not supported: the models go on", param="suffix")
    if asked.best_of is not None and asked.best_of > (asked.n or 1):
        raise RequestError("best_of beyond n is not supported", param="best_of")
    prompts = _prompts(loaded, asked.prompt)
    n = asked.n or 1
    if n * len(prompts) > _MOST_TEXTS:
        raise RequestError(f"at most {_MOST_TEXTS} choices at once", param="n")
    settings = _settings(loaded, flags, asked, control)
    choosing = settings.weighting.chooser
    if isinstance(choosing, ByAnswers):
        raise RequestError(
            "ppl-answers: a raw prompt does not say which of it are answers; take ppl, or a chat",
            param="trimix.weights",
        )
    scores: list[PromptScores] = []
    if asked.echo and asked.logprobs is not None:
        if choosing:
            raise RequestError("echo with logprobs needs fixed weights", param="trimix.weights")
        scores = [
            PromptScores(settings.weighting.weights, asked.logprobs)
            for _ in range(n * len(prompts))
        ]
    texts = []
    for index in range(n * len(prompts)):
        tokens = prompts[index // n]
        _check_length(loaded, tokens, asked.limit, "prompt")
        texts.append(
            Text(
                tokens,
                settings.weighting.weights,
                _seeded(settings, index % n),
                settings.control,
                _limit(settings, asked),
                settings.stops,
                choosing(0) if choosing else None,
                settings.weighting.plausibility,
                (scores[index],) if scores else (),
                n_top=asked.logprobs,
                ignore_ends=bool(asked.ignore_eos),
                by_role=bool(asked.extra.roles),
                tag=index,
            )
        )
    echoed = [loaded.text_of(text.tokens) for text in texts] if asked.echo else []
    return Plan(
        texts, n, _how(settings, flags, asked), settings.sampler.seed, echoed=echoed, scores=scores
    )


def _prompts(loaded: Loaded, prompt: object) -> list[list[int]]:
    """The prompts in tokens: a text, ids of `large`, or a list of either."""
    if isinstance(prompt, str) or _are_ids(prompt):
        prompt = [prompt]
    if not isinstance(prompt, list) or not prompt:
        raise RequestError("prompt is a text, or a list of texts or of tokens", param="prompt")
    found = []
    for each in prompt:
        if isinstance(each, str):
            tokens = loaded.trimix.tokenize(each)
        elif _are_ids(each):
            tokens = loaded.from_ids(each)
        else:
            raise RequestError("prompt is a text, or a list of texts or of tokens", param="prompt")
        if not tokens:
            raise RequestError("the prompt is empty", param="prompt")
        found.append(tokens)
    return found


def _are_ids(prompt: object) -> bool:
    return isinstance(prompt, list) and bool(prompt) and all(type(token) is int for token in prompt)


def _settings(loaded: Loaded, flags: DecodingFlags, asked: Asked, control: str) -> Settings:
    """What the flags mean with what is asked over them."""
    if len(asked.stops) > _MOST_STOPS or any(len(s) > _LONGEST_STOP for s in asked.stops):
        raise RequestError(
            f"stop has at most {_MOST_STOPS} strings of {_LONGEST_STOP} characters", param="stop"
        )
    own = flags_for(flags, asked, control=control, limit=asked.limit or None)
    settings = loaded.trimix.settings.changed(own.weights, own.sampling)
    for role in settings.weighting.roles:
        if role not in settings.spec.roles:
            raise RequestError(f"the weights use {role}, which is not served", param="trimix")
    if asked.logit_bias:
        sampler = replace(settings.sampler, bias=loaded.bias_of(asked.logit_bias))
        settings = replace(settings, sampler=sampler)
    return settings


def _limit(settings: Settings, asked: Asked) -> int | None:
    return 0 if asked.limit == 0 else settings.max_tokens


def _seeded(settings: Settings, index: int) -> Any:
    sampler = settings.sampler
    return replace(sampler, seed=(sampler.seed + index) % 2**64)


def _check_length(loaded: Loaded, tokens: Sequence[int], limit: int | None, field: str) -> None:
    n_ctx = loaded.trimix.n_ctx
    if len(tokens) + (limit != 0) > n_ctx:
        raise too_long(len(tokens), n_ctx, field)


def _how(settings: Settings, flags: DecodingFlags, asked: Asked) -> dict[str, Any]:
    return {"method": asked.extra.method or flags.weights.method, "control": settings.control}
