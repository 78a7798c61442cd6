"""A conversation with a trio: what was said, and its place in the models' caches. No terminal here.

A turn's prompt is the chat template's rendering of everything said. Where it continues the last
prompt and the tokens generated since, these stay, and only the text that follows is tokenized and
evaluated; otherwise the caches are cut back to the tokens that both have in common.

The names of control tokens mean these tokens where the template writes them. In what was said they
are text: somebody who types `<|im_end|>` does not end a turn. (llama.cpp's own chat reads them.)
"""

from __future__ import annotations

import bisect
import re
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from ..decoding import Control, Decoder, Stop, Text, Trio, common_length
from ..errors import ContextFullError, ModelFileError, TrimixError
from ..files import Closing
from ..fusion import ByAnswers, Plausibility, Sampler, Weights
from ..gguf import read_header
from ..prompts import PLAIN_STOP, PLAIN_TEMPLATE, ChatTemplate
from .saved import SavedChat, Turn, read_chat, write_chat
from .thoughts import OPEN, Thoughts, thought_and_answer

if TYPE_CHECKING:
    from ..fusion import Choosing, Observer

# Stands inside the name of a control token that is meant as text: a noncharacter, which no text
# that is exchanged may hold (Unicode 23.7). The text is tokenized in pieces around it.
_MARK = "\ufdd0"
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
        self.system = None if system is None else _checked(system)
        self.turns: list[Turn] = []
        self.dropped = 0
        self.stop: Stop | None = None
        self.template = template or template_of(trio)
        self._own_template = None if template else self.template
        plain = self.template.source == PLAIN_TEMPLATE
        self._settings = (control, max_tokens, (*stops, PLAIN_STOP) if plain else stops)
        self._names = _control_names(trio)
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
        return self._answer([*self.turns, Turn(_checked(text))], attempt=0)

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
        self.system = None if text is None else _checked(text)

    def set_weights(self, weights: Weights, chooser: Choosing | None = None) -> None:
        """Use other weights from the next reply on; a role that they need is loaded.

        With a `chooser` every turn chooses its own, by the tokens that are new in its prompt;
        with `ByAnswers` by the earlier replies, and the first as `weights` say.

        Raises:
            TrimixError: no file for that role, or it cannot be loaded; the weights stay.
        """
        self.trio.require(chooser(0).roles if chooser else weights.roles)
        self._names = _control_names(self.trio)
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
        text = self._begin(tokens, self._seeded(attempt), self._chooser(turns[dropped:], tokens))
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

    def _begin(self, tokens: list[int], sampler: Sampler, chooser: Observer | None) -> Text:
        """The text of the next reply."""
        control, max_tokens, stops = self._settings
        text = Text(
            tokens, self.weights, sampler, control, max_tokens, stops, chooser, self.plausibility
        )
        self.decoder.submit(text)
        self._text = text
        return text

    def _chooser(self, turns: list[Turn], tokens: list[int]) -> Observer | None:
        """What chooses the next reply's weights: by what its prompt has that is new, or replies."""
        if self.chooser is None:
            return None
        if isinstance(self.chooser, ByAnswers):
            return self.chooser.of(self._replies(turns, tokens))
        known = common_length(self._text.tokens, tokens) if self._text else 0
        return self.chooser(max(known - 1, 0))

    def _replies(self, turns: list[Turn], tokens: list[int]) -> list[tuple[int, int]]:
        """Where the earlier replies of a prompt stand in its tokens."""
        ends = list(accumulate(len(self._bytes(token)) for token in tokens))
        whole, spans = self._prompt(turns)[1].replace(_MARK, ""), []
        # A BOS token, or the space that some tokenizers put before a text.
        before = ends[-1] - len(whole.encode())
        for count, turn in enumerate(turns[:-1], 1):
            asked = self._prompt(turns[:count])[1].replace(_MARK, "")
            reply = turn.reply.strip()
            if reply and whole.startswith(asked + reply):
                start = before + len(asked.encode())
                first = bisect.bisect_right(ends, start)
                spans.append((first, bisect.bisect_left(ends, start + len(reply.encode())) + 1))
        return spans

    def _fit(self, turns: list[Turn]) -> tuple[int, list[int], str]:
        """How many turns must be dropped, and the prompt of the others: tokens and text."""
        n_ctx, newest = self.trio.n_ctx, len(turns) - 1
        max_tokens = self._settings[1]
        reserve = n_ctx // 4 if max_tokens is None else min(max_tokens, n_ctx // 2)
        first = min(self.dropped, newest)
        tokens, text = self._prompt(turns[first:])
        if len(tokens) > n_ctx - reserve and first < newest:
            first = bisect.bisect_left(
                range(newest),
                True,
                lo=first + 1,
                key=lambda start: len(self._prompt(turns[start:])[0]) <= n_ctx // 2,
            )
            tokens, text = self._prompt(turns[first:])
        if len(tokens) >= n_ctx:
            raise ContextFullError(
                f"the message is too long: its prompt has {len(tokens)} tokens and the context "
                f"holds {n_ctx}; shorten it, or give a larger -c"
            )
        return first, tokens, text

    def _prompt(self, turns: list[Turn]) -> tuple[list[int], str]:
        text = self.template.render(self._messages(turns), enable_thinking=self.think)
        return self._tokens(text), text

    def _messages(self, turns: list[Turn]) -> list[dict[str, str]]:
        """What the template is given: the last turn's reply is yet to come."""
        said = [("system", self.system)] if self.system is not None else []
        for turn in turns:
            said += [("user", turn.user), ("assistant", turn.reply)]
        return [{"role": role, "content": self._shield(text)} for role, text in said[:-1]]

    def _shield(self, text: str) -> str:
        """Put a mark into every name of a control token."""
        for at in sorted({match.start() + 1 for match in self._names.finditer(text)}, reverse=True):
            text = text[:at] + _MARK + text[at:]
        return text

    def _tokens(self, rendered: str) -> list[int]:
        """Ids of a rendered prompt; those of the last prompt and its reply are kept."""
        text = self._text
        if text is not None and rendered.startswith(self._rendered):
            kept, rest = self._continued(text.generated, rendered[len(self._rendered) :])
            if self._may_start_with(rest):
                return [*text.tokens[: text.n_prompt + kept], *self._tokenize(rest)]
        return self._tokenize(rendered, whole=True)

    def _continued(self, generated: list[int], text: str) -> tuple[int, str]:
        """How many generated ids `text` begins with, and what follows them.

        That settles at once an end-of-generation token that the template writes too, one that it
        does not, a stop string, half a character, and a reply that the template changes.
        """
        data, at = text.encode("utf-8"), 0
        kept, end = 0, 0
        for count, token in enumerate(generated, 1):
            piece = self._bytes(token)
            if not piece or not data.startswith(piece, at):
                break
            at += len(piece)
            if at == len(data) or data[at] & 0xC0 != 0x80:  # a character begins here
                kept, end = count, at
        return kept, data[end:].decode("utf-8")

    def _bytes(self, token: int) -> bytes:
        if self.trio.alignment.control()[token]:
            return self.trio.text_of(token).encode("utf-8")
        return self.trio.piece(token)

    def _may_start_with(self, text: str) -> bool:
        """Whether `text` may be tokenized apart from what stands before it.

        SentencePiece tokenizers put a space before a text's first word, but not after a name.
        """
        if not text or self._names.match(text):
            return True
        return b"".join(map(self.trio.piece, self.trio.tokenize("a"))) == b"a"

    def _tokenize(self, text: str, *, whole: bool = False) -> list[int]:
        """Ids of rendered text; a `whole` one gets the BOS token that it lacks."""
        bos = self.template.bos
        add_special = whole and not (bos and text.startswith(bos))
        tokens: list[int] = []
        for part in text.split(_MARK):
            tokens += self.trio.tokenize(part, add_special=add_special, parse_special=True)
            add_special = False
        ends = self.trio.alignment.ends()
        if tokens and tokens[-1] in ends and not text.endswith(self.trio.text_of(tokens[-1])):
            tokens.pop()  # an EOS that the tokenizer adds would end the reply before it begins
        return tokens

    def close(self) -> None:
        """Free the place in the trio and stop the template's process."""
        if self._own_template:
            self._own_template.close()
        if self._text is not None:
            self.decoder.drop(self._text)
            self._text = None


def _checked(text: str) -> str:
    """Text that can be encoded, without the mark that is used within."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise TrimixError("the text holds half a surrogate pair: it is not valid UTF-8") from None
    return text.replace(_MARK, "")


def template_of(trio: Trio) -> ChatTemplate:
    """The chat template of a trio, started; plain paragraphs where its models have none.

    Raises:
        TrimixError: it is too long to be read.
    """
    source = _template_source(trio) or PLAIN_TEMPLATE
    return ChatTemplate(source, trio.special_text("bos"), trio.special_text("eos"))


def _template_source(trio: Trio) -> str | None:
    """The chat template of `large`, loaded or not, or else of a loaded role.

    With weights such as 0,1 the small model answers alone, but in the same form.
    """
    large = trio.spec.roles.get("large")
    if large is not None and "large" not in trio.roles:
        try:
            source = read_header(large.path).metadata.get("tokenizer.chat_template")
        except ModelFileError:
            source = None
        if isinstance(source, str) and source:
            return source
    return trio.chat_template


def _control_names(trio: Trio) -> re.Pattern[str]:
    """Matches nothing, in front of every name of a control token: overlapping ones count too."""
    texts = {trio.text_of(token) for token in trio.alignment.control().nonzero()[0].tolist()}
    # A name of one character cannot be broken up; no model has one.
    names = sorted(text for text in texts if len(text) > 1)
    return re.compile(f"(?={'|'.join(map(re.escape, names))})" if names else "(?!)")
