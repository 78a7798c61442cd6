"""A conversation with a trio: what was said, and its place in the models' caches. No terminal here.

A turn's prompt is the chat template's rendering of everything said (`prompter`). Where it continues
the last prompt and the tokens generated since, these stay, and only what follows is evaluated;
otherwise the caches are cut back to the tokens that both have in common.
"""

from __future__ import annotations

import bisect
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..decoding import ByteTrio, Control, Decoder, Stop, Text, common_length
from ..errors import ContextFullError, TrimixError
from ..files import Closing
from ..fusion import ByAnswers, Plausibility, Sampler, Weights
from ..prompts import ChatTemplate
from .own_prompts import OwnPrompts
from .prompter import Answered, Prompter, checked, template_of
from .saved import SavedChat, Turn, read_chat, write_chat
from .thoughts import OPEN, Thoughts, thought_and_answer

if TYPE_CHECKING:
    from ..fusion import Choosing, Observer

_SEEDS = 2**64


@dataclass(frozen=True)
class Stats:
    """Figures of a conversation.

    Attributes:
        turns, dropped: exchanges, and how many of them the models no longer see.
        context, n_ctx: tokens in the context, and how many it holds.
        new_tokens, cached_tokens: of the last prompt: evaluated, and still there from before.
        reply_tokens, reply_seconds: of the last reply, its prompt included in the seconds.
        prompt_speed, speed: tokens a second in all, for prompts and for generation; 0 if unknown.
        seed: of the last reply.
    """

    trio: str
    weights: Weights
    roles: tuple[str, ...]
    turns: int
    dropped: int
    context: int
    n_ctx: int
    new_tokens: int
    cached_tokens: int
    reply_tokens: int
    reply_seconds: float
    prompt_speed: float
    speed: float
    seed: int


class Conversation(Closing):
    """Turns of a user and a trio; a context manager. The decoder stays, and is the caller's.

    Without a chat template in the models, every message is a paragraph of plain text, and so is
    the reply. When the context is full the oldest turns leave it, until half of it is free: every
    cut moves the rest, so that it must be evaluated anew. `turns` and saved files keep them.

    Args:
        decoder: its trio loads the roles that `weights` need, as they become needed.
        weights, chooser, plausibility, sampler, control, max_tokens, stops: as in `Text`.
        system: the system message, None for none.
        think: a model that can think before it answers is told to; the others do not care.
        template: the trio's chat template, the caller's; None makes one that is closed with this.

    Attributes:
        turns: everything said, the oldest first.
        system: the system message or None.
        dropped: how many of the oldest turns the models no longer see.
        stop: why the last reply ended; "cancelled" where it was interrupted.
        template: the chat template.
        on_thought: gets what is thought before a reply as it comes; None lets it pass.

    Raises:
        TrimixError: no memory, or files that are missing or may not be fused.
    """

    def __init__(
        self,
        decoder: Decoder,
        *,
        weights: Weights,
        chooser: Choosing | None = None,
        plausibility: Plausibility | None = None,
        sampler: Sampler | None = None,
        control: Control = "large",
        max_tokens: int | None = None,
        stops: tuple[str, ...] = (),
        system: str | None = None,
        think: bool = False,
        template: ChatTemplate | None = None,
    ) -> None:
        trio = decoder.trio
        trio.require(chooser(0).roles if chooser else weights.roles)
        self.trio, self.weights, self.sampler = trio, weights, sampler or Sampler()
        self.chooser, self.plausibility = chooser, plausibility
        self.decoder, self.think = decoder, think
        self.on_thought: Callable[[str], None] | None = None
        self.system = None if system is None else checked(system)
        self.turns: list[Turn] = []
        self.dropped = 0
        self.stop: Stop | None = None
        self.template = template or template_of(trio)
        self._own_template = None if template else self.template
        self._prompter = Prompter(trio, self.template)
        self._own = OwnPrompts(trio) if isinstance(trio, ByteTrio) else None
        self._settings = (control, max_tokens, (*stops, *self._prompter.stops))
        self._text: Text | None = None
        self._rendered = ""  # the text of the last prompt
        self._attempt = 0
        self._seconds = 0.0

    def send(self, text: str) -> Generator[str, None, None]:
        """Say `text`; the reply's text as it comes.

        The turn counts from now on. A reply that is cancelled, closed or broken off by an
        exception stays as far as it came.

        Raises:
            ContextFullError: the message alone does not fit; the conversation is as it was.
            TrimixError: the chat template fails; the conversation is as it was.
        """
        return self._answer([*self.turns, Turn(checked(text))], attempt=0)

    def regenerate(self) -> Generator[str, None, None]:
        """Another reply in place of the last one, with the next seed; the same if greedy.

        Raises:
            TrimixError: nothing was said yet; otherwise as `send`.
        """
        if not self.turns:
            raise TrimixError("there is no reply yet to be made again")
        return self._answer([*self.turns[:-1], Turn(self.turns[-1].user)], self._attempt + 1)

    def cancel(self) -> None:
        """Stop the reply at the next token; may be called by a signal handler or a thread."""
        if self._text:
            self.decoder.cancel(self._text)

    @property
    def text(self) -> Text | None:
        """The last reply in the decoder, its prompt first; None before the first."""
        return self._text

    def clear(self) -> None:
        """Forget the turns; the system message stays."""
        self.turns, self.dropped, self.stop = [], 0, None

    def set_system(self, text: str | None) -> None:
        """Replace the system message; None removes it. The turns so far stay."""
        self.system = None if text is None else checked(text)

    def set_weights(self, weights: Weights, chooser: Choosing | None = None) -> None:
        """Use other weights from the next reply on; a role that they need is loaded.

        With a `chooser` every turn chooses its own, by the tokens that are new in its prompt;
        with `ByAnswers` by the earlier replies, and the first as `weights` say.

        Raises:
            TrimixError: no file for that role, or it cannot be loaded; the weights stay.
        """
        self.trio.require(chooser(0).roles if chooser else weights.roles)
        self.weights, self.chooser = weights, chooser

    def save(self, path: Path) -> None:
        """Write everything said to a JSON file, whole or not at all.

        Raises:
            TrimixError: it cannot be written, or `path` is a file of another kind.
        """
        write_chat(path, SavedChat(self.trio.spec.name, self.weights, self.system, self.turns))

    def load(self, path: Path) -> SavedChat:
        """Take over the turns, the system message and the weights of a saved conversation.

        Raises:
            TrimixError: the file is not one, or its weights cannot be used; nothing is changed.
        """
        saved = read_chat(path)
        self.set_weights(saved.weights)
        self.system, self.turns = saved.system, list(saved.turns)
        self.dropped, self.stop = 0, None
        return saved

    def stats(self) -> Stats:
        """Figures of the conversation so far."""
        text, timings = self._text, self.decoder.timings
        n_cached = text.n_cached if text else 0
        return Stats(
            trio=self.trio.spec.name,
            weights=self.weights,
            roles=self.trio.roles,
            turns=len(self.turns),
            dropped=self.dropped,
            context=len(text.tokens) if text else 0,
            n_ctx=self.trio.n_ctx,
            new_tokens=text.n_prompt - n_cached if text else 0,
            cached_tokens=n_cached,
            reply_tokens=len(text.generated) if text else 0,
            reply_seconds=self._seconds,
            prompt_speed=timings.prompt_speed,
            speed=timings.speed,
            seed=self._seeded(self._attempt).seed,
        )

    def _answer(self, turns: list[Turn], attempt: int) -> Generator[str, None, None]:
        dropped, tokens, rendered = self._fit(turns)
        said = turns[dropped:]
        text = self._begin(
            tokens, self._seeded(attempt), self._chooser(said, tokens), self._prompts(said)
        )
        self.turns, self.dropped, self._rendered = turns, dropped, rendered
        self._attempt, self.stop = attempt, None
        return self._reply(text, turns[-1])

    def _reply(self, text: Text, turn: Turn) -> Generator[str, None, None]:
        began = time.perf_counter()
        inside = self._rendered.rstrip().endswith(OPEN)
        thoughts = Thoughts(inside=inside)
        try:
            for piece in self.decoder.stream(text):
                yield from self._said(*thoughts.push(piece))
            yield from self._said(*thoughts.finish())
        finally:
            self.decoder.drop(text)
            turn.thought, turn.reply = thought_and_answer(text.text, inside=inside)
            self.weights = text.weights
            self.stop = text.stop
            self._seconds = time.perf_counter() - began

    def _said(self, thought: str, answer: str) -> Iterator[str]:
        """What comes of a reply: the answer goes on, the thought aside."""
        if thought and self.on_thought:
            self.on_thought(thought)
        if answer:
            yield answer

    def _seeded(self, attempt: int) -> Sampler:
        return replace(self.sampler, seed=(self.sampler.seed + attempt) % _SEEDS)

    def _begin(
        self,
        tokens: list[int],
        sampler: Sampler,
        chooser: Observer | None,
        prompts: Mapping[str, Sequence[int]],
    ) -> Text:
        """The text of the next reply."""
        control, max_tokens, stops = self._settings
        text = Text(
            tokens, self.weights, sampler, control, max_tokens, stops, chooser, self.plausibility,
            prompts=prompts,
        )  # fmt: skip
        self.decoder.submit(text)
        self._text = text
        return text

    def _chooser(self, turns: list[Turn], tokens: list[int]) -> Observer | None:
        """What chooses the next reply's weights: by what its prompt has that is new, or replies."""
        if self.chooser is None:
            return None
        if isinstance(self.chooser, ByAnswers):
            return self.chooser.of(
                self._prompter.spans(self._said_in(turns), tokens, think=self.think)
            )
        known = common_length(self._text.tokens, tokens) if self._text else 0
        return self.chooser(max(known - 1, 0))

    def _fit(self, turns: list[Turn]) -> tuple[int, list[int], str]:
        """How many turns must be dropped, and the prompt of the others: tokens and text."""
        n_ctx, newest = self.trio.n_ctx, len(turns) - 1
        max_tokens = self._settings[1]
        reserve = n_ctx // 4 if max_tokens is None else min(max_tokens, n_ctx // 2)
        first = min(self.dropped, newest)
        tokens, text = self._prompt(turns[first:])
        if self._length(turns[first:], tokens) > n_ctx - reserve and first < newest:
            first = bisect.bisect_left(
                range(newest),
                True,
                lo=first + 1,
                key=lambda start: self._length(turns[start:]) <= n_ctx // 2,
            )
            tokens, text = self._prompt(turns[first:])
        if (length := self._length(turns[first:], tokens)) >= n_ctx:
            raise ContextFullError(
                f"the message is too long: its prompt has {length} tokens and the context "
                f"holds {n_ctx}; shorten it, or give a larger -c"
            )
        return first, tokens, text

    def _length(self, turns: list[Turn], tokens: list[int] | None = None) -> int:
        """Tokens of a prompt, as the role counts them that needs most."""
        if own := self._prompts(turns):
            return max(map(len, own.values()))
        return len(self._prompt(turns)[0] if tokens is None else tokens)

    def _prompts(self, turns: list[Turn]) -> dict[str, tuple[int, ...]]:
        """What each role reads in the prompt's place, where they differ."""
        return self._own.of(self._said_in(turns), think=self.think) if self._own else {}

    def _prompt(self, turns: list[Turn]) -> tuple[list[int], str]:
        rendered = self.template.render(self._messages(turns), enable_thinking=self.think)
        text = self._text
        last = Answered(self._rendered, text.tokens, text.n_prompt) if text else None
        return self._prompter.tokens(rendered, last), rendered

    def _messages(self, turns: list[Turn]) -> list[dict[str, str]]:
        """What the template is given."""
        return self._prompter.shielded(self._said_in(turns))

    def _said_in(self, turns: list[Turn]) -> list[dict[str, str]]:
        """The turns as messages: the last turn's reply is yet to come."""
        said = [("system", self.system)] if self.system is not None else []
        for turn in turns:
            said += [("user", turn.user), ("assistant", turn.reply)]
        return [{"role": role, "content": text} for role, text in said[:-1]]

    def close(self) -> None:
        """Free the place in the trio and stop the template's process."""
        if self._own_template:
            self._own_template.close()
        if self._own:
            self._own.close()
        if self._text is not None:
            self.decoder.drop(self._text)
            self._text = None
