"""Answers in OpenAI's form: whole documents, and chunks of a stream."""

from __future__ import annotations

import codecs
import secrets
import time
from collections.abc import Iterator, Sequence
from typing import Any

from .. import __version__
from ..chat import Thoughts
from ..decoding import Event, Stop, Text
from ..fusion import Scored
from .generation import Plan
from .trios import Loaded

_FINISH: dict[Stop, str] = {"end": "stop", "stop": "stop", "length": "length", "context": "length"}
# What JSON has no number for: a token that cannot come.
_LEAST = -9999.0

Document = dict[str, Any]


class Offsets:
    """Where tokens stand in a text: characters before each."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._n = 0

    def before(self, piece: bytes) -> int:
        """Whole characters before the next token, whose bytes are `piece`."""
        at = self._n
        self._n += len(self._decoder.decode(piece))
        return at


class Form:
    """How one request is answered; its events are given to it in order.

    Args:
        loaded: the trio.
        plan: what was asked.
        model: the name that the answer bears.
        kind: "chat.completion" or "text_completion".
    """

    def __init__(self, loaded: Loaded, plan: Plan, model: str | None, kind: str) -> None:
        self._loaded, self._plan, self._chat = loaded, plan, kind == "chat.completion"
        prefix = "chatcmpl-" if self._chat else "cmpl-"
        self._kind = kind
        self._head: Document = {
            "id": prefix + secrets.token_hex(12),
            "created": int(time.time()),
            "model": model or loaded.trimix.spec.name,
            "system_fingerprint": f"trimix-cpp-{__version__}",
        }
        n = len(plan.texts)
        self._thoughts = [Thoughts(inside=plan.inside) for _ in range(n)]
        self._parts: list[list[tuple[str, str]]] = [[] for _ in range(n)]
        self._begun = [False] * n
        self._offsets = [Offsets() for _ in range(n)]

    def chunks(self, event: Event) -> Iterator[Document]:
        """The chunks of a stream that an event gives."""
        index, text = int(str(event.text.tag)), event.text
        if not self._begun[index]:
            self._begun[index] = True
            yield from self._first(index)
        thought, answer = self._push(index, event)
        scores = self._shown(event)
        if thought or answer or scores:
            yield self._chunk(index, self._delta(index, thought, answer), scores)
        if text.stop:
            yield self._last(index, text)

    def add(self, event: Event) -> None:
        """Take an event of an answer that is given as a whole."""
        index = int(str(event.text.tag))
        self._parts[index].append(self._push(index, event))

    def usage(self) -> Document:
        """Tokens that were read and written, over all choices."""
        texts = self._plan.texts
        prompts = texts[:: self._plan.n]  # the choices of a prompt have it once
        prompt = sum(text.n_prompt for text in prompts)
        written = sum(len(text.generated) for text in texts)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": written,
            "total_tokens": prompt + written,
            "prompt_tokens_details": {"cached_tokens": sum(t.n_cached for t in prompts)},
        }

    def usage_chunk(self) -> Document:
        """The chunk that ends a stream whose client wants to know the usage."""
        return {**self._head, "object": self._chunk_kind, "choices": [], "usage": self.usage()}

    def document(self) -> Document:
        """The whole answer."""
        choices = [self._choice(index, text) for index, text in enumerate(self._plan.texts)]
        return {
            **self._head,
            "object": self._kind,
            "choices": choices,
            "usage": self.usage(),
            "trimix": self._told(self._plan.texts[0]),
        }

    @property
    def _chunk_kind(self) -> str:
        return "chat.completion.chunk" if self._chat else self._kind

    def _push(self, index: int, event: Event) -> tuple[str, str]:
        """(thought, answer) that become certain with an event; raw text is no thought."""
        if not self._chat:
            return "", event.piece
        thoughts = self._thoughts[index]
        thought, answer = thoughts.push(event.piece)
        if event.text.stop:
            last = thoughts.finish()
            thought, answer = thought + last[0], answer + last[1]
        return thought, answer

    def _shown(self, event: Event) -> list[tuple[int, Scored]]:
        """The tokens to tell of, with their scores; the one that ends a reply is no part of it.

        One that ends a completion is: lm-eval counts on a token for each that it asks for.
        """
        pairs = list(zip(event.tokens, event.scores, strict=False))
        return [] if self._chat and event.text.stop == "end" else pairs

    def _first(self, index: int) -> Iterator[Document]:
        if self._chat:
            yield self._chunk(index, {"role": "assistant", "content": None}, [])
        elif self._plan.echoed:
            echoed = self._plan.echoed[index]
            logprobs = self._raw_scores(index, self._prompt_pairs(index))
            yield self._document([{**self._raw(index, echoed), "logprobs": logprobs}])

    def _delta(self, index: int, thought: str, answer: str) -> Document | str:
        if not self._chat:
            return answer
        delta: Document = {"reasoning_content": thought} if thought else {}
        if answer or not thought:
            delta["content"] = answer
        return delta

    def _chunk(
        self, index: int, delta: Document | str, scores: Sequence[tuple[int, Scored]]
    ) -> Document:
        if isinstance(delta, str):
            choice = self._raw(index, delta)
            choice["logprobs"] = self._raw_scores(index, scores)
        else:
            choice = {"index": index, "delta": delta, "finish_reason": None}
            if scores:
                choice["logprobs"] = {"content": [self._content(*each) for each in scores]}
        return self._document([choice])

    def _last(self, index: int, text: Text) -> Document:
        body: Document = {"delta": {}} if self._chat else {"text": "", "logprobs": None}
        choice = {"index": index, **body, "finish_reason": _finish(text)}
        return {**self._document([choice]), "trimix": self._told(text)}

    def _document(self, choices: list[Document]) -> Document:
        return {**self._head, "object": self._chunk_kind, "choices": choices}

    def _raw(self, index: int, text: str) -> Document:
        return {"index": index, "text": text, "logprobs": None, "finish_reason": None}

    def _choice(self, index: int, text: Text) -> Document:
        thought = "".join(part[0] for part in self._parts[index])
        answer = "".join(part[1] for part in self._parts[index])
        finish = {"index": index, "finish_reason": _finish(text)}
        if not self._chat:
            echoed = self._plan.echoed[index] if self._plan.echoed else ""
            shown = [*self._prompt_pairs(index), *((s.token, s) for s in text.scores)]
            logprobs = self._raw_scores(index, shown)
            return {**finish, "text": echoed + answer, "logprobs": logprobs}
        message: Document = {"role": "assistant", "content": answer}
        if thought:
            message["reasoning_content"] = thought
        logprobs = None
        if text.n_top is not None:
            logprobs = {"content": [self._content(s.token, s) for s in _kept(text)]}
        return {**finish, "message": message, "logprobs": logprobs}

    def _told(self, text: Text) -> Document:
        return {
            "weights": text.weights.as_json(),
            **self._plan.how,
            "seed": self._plan.seed,
            "cached_tokens": text.n_cached,
        }

    def _content(self, token: int, scored: Scored) -> Document:
        """One token of a chat, with the likeliest in its place and what each role gave them."""
        own = self._named(token, scored.logprob)
        own["top_logprobs"] = [self._named(each, value) for each, value in scored.top]
        for entry, each in zip(
            [own, *own["top_logprobs"]], [token, *(each for each, _ in scored.top)], strict=True
        ):
            if scored.roles:
                entry["roles"] = {
                    role: {"logit": values[each][0], "logprob": _number(values[each][1])}
                    for role, values in scored.roles.items()
                }
        return own

    def _named(self, token: int, logprob: float) -> Document:
        data = self._loaded.bytes_of(token)
        return {
            "token": data.decode("utf-8", "replace"),
            "bytes": [*data],
            "logprob": _number(logprob),
        }

    def _prompt_pairs(self, index: int) -> list[tuple[int, Scored | None]]:
        """The tokens of an echoed prompt, if they are scored; nothing predicts the first one."""
        if not self._plan.scores:
            return []
        scored = ((each.token, each) for each in self._plan.scores[index].values)
        return [(self._plan.texts[index].tokens[0], None), *scored]

    def _raw_scores(
        self, index: int, shown: Sequence[tuple[int, Scored | None]]
    ) -> Document | None:
        """`logprobs` of a completion: lists of one length; None where none are told."""
        pieces = [self._loaded.bytes_of(token) for token, _ in shown]
        if self._plan.texts[index].n_top is None or not shown:
            return None
        return {
            "tokens": [piece.decode("utf-8", "replace") for piece in pieces],
            "token_logprobs": [_number(s.logprob) if s else None for _, s in shown],
            "top_logprobs": [self._tops(scored) if scored else None for _, scored in shown],
            "text_offset": [self._offsets[index].before(piece) for piece in pieces],
        }

    def _tops(self, scored: Scored) -> dict[str, float]:
        """The likeliest by name; of those with one, such as halves of characters, the best."""
        tops: dict[str, float] = {}
        for token, value in scored.top:
            name = self._loaded.bytes_of(token).decode("utf-8", "replace")
            tops.setdefault(name, _number(value))
        return tops


def _kept(text: Text) -> list[Scored]:
    """The scores of a reply's tokens, without the one that ended it."""
    return text.scores[:-1] if text.stop == "end" else text.scores


def _finish(text: Text) -> str:
    return _FINISH.get(text.stop or "length", "stop")


def _number(value: float) -> float:
    return max(value, _LEAST)
