"""From messages to a prompt's tokens: the chat template, and what is kept of an earlier prompt.

A prompt is the template's rendering of everything said. Where it continues an earlier prompt and
the tokens generated since, these stay, and only the text that follows is tokenized.

The names of control tokens mean these tokens where the template writes them. In what was said they
are text: somebody who types `<|im_end|>` does not end a turn. (llama.cpp's own chat reads them.)
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from ..decoding import Speaker, Trio
from ..errors import ModelFileError, TrimixError
from ..gguf import read_header
from ..prompts import PLAIN_STOP, PLAIN_TEMPLATE, ChatTemplate

# Stands inside the name of a control token that is meant as text: a noncharacter, which no text
# that is exchanged may hold (Unicode 23.7). The text is tokenized in pieces around it.
_MARK = "\ufdd0"


@dataclass(frozen=True)
class Answered:
    """A prompt that was answered: its text, and its tokens with those of the answer after them."""

    rendered: str
    tokens: Sequence[int]
    n_prompt: int


class Prompter:
    """Makes prompts of messages for a trio; one thread at a time, as its template.

    Args:
        trio: tokenizes.
        template: its chat template, the caller's.
    """

    def __init__(self, trio: Trio | Speaker, template: ChatTemplate) -> None:
        self.trio, self.template = trio, template
        self._roles: tuple[str, ...] = ()
        self._names = re.compile("(?!)")

    @property
    def stops(self) -> tuple[str, ...]:
        """What ends a reply besides control tokens: in plain paragraphs, their end."""
        return (PLAIN_STOP,) if self.template.source == PLAIN_TEMPLATE else ()

    def shielded(self, messages: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
        """The messages with a mark in every name of a control token: as a template gets them."""
        return [{**message, "content": self._shield(message["content"])} for message in messages]

    def render(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        think: bool = False,
        add_generation_prompt: bool = True,
    ) -> str:
        """The prompt's text, marks in it; `think`: a model that can think is told to.

        Raises:
            TrimixError: the template fails, or refuses the messages.
        """
        return self.template.render(self.shielded(messages), add_generation_prompt, think)

    def tokens(self, rendered: str, last: Answered | None = None) -> list[int]:
        """Ids of a rendered prompt; those of `last` and its answer are kept if it goes on there."""
        if last is not None and rendered.startswith(last.rendered):
            generated = last.tokens[last.n_prompt :]
            kept, rest = self._continued(generated, rendered[len(last.rendered) :])
            if self._may_start_with(rest):
                return [*last.tokens[: last.n_prompt + kept], *self.tokenize(rest)]
        return self.tokenize(rendered, whole=True)

    def spans(
        self, messages: Sequence[Mapping[str, str]], tokens: Sequence[int], *, think: bool = False
    ) -> list[tuple[int, int]]:
        """Where the replies among `messages` stand in the tokens of their prompt."""
        ends = list(accumulate(len(self._bytes(token)) for token in tokens))
        whole, spans = self.render(messages, think=think).replace(_MARK, ""), []
        # A BOS token, or the space that some tokenizers put before a text.
        before = ends[-1] - len(whole.encode())
        for at, message in enumerate(messages):
            reply = message["content"].strip()
            if message["role"] != "assistant" or not reply:
                continue
            asked = self.render(messages[:at], think=think).replace(_MARK, "")
            if whole.startswith(asked + reply):
                start = before + len(asked.encode())
                first = bisect.bisect_right(ends, start)
                spans.append((first, bisect.bisect_left(ends, start + len(reply.encode())) + 1))
        return spans

    def tokenize(self, text: str, *, whole: bool = False) -> list[int]:
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

    def _shield(self, text: str) -> str:
        """Put a mark into every name of a control token."""
        found = {match.start() + 1 for match in self._control_names().finditer(text)}
        parts, before = list[str](), 0
        for at in sorted(found):
            parts += [text[before:at], _MARK]
            before = at
        return "".join([*parts, text[before:]])

    def _continued(self, generated: Sequence[int], text: str) -> tuple[int, str]:
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
        if not text or self._control_names().match(text):
            return True
        return b"".join(map(self.trio.piece, self.trio.tokenize("a"))) == b"a"

    def _control_names(self) -> re.Pattern[str]:
        """Matches nothing, in front of every name of a control token: overlapping ones count too.

        A role that is loaded later may bring further ones.
        """
        if self._roles != self.trio.roles:
            self._roles, control = self.trio.roles, self.trio.alignment.control()
            texts = {self.trio.text_of(token) for token in control.nonzero()[0].tolist()}
            # A name of one character cannot be broken up; no model has one.
            names = sorted(text for text in texts if len(text) > 1)
            either = "|".join(map(re.escape, names))
            self._names = re.compile(f"(?={either})" if names else "(?!)")
        return self._names


def checked(text: str) -> str:
    """Text that can be encoded, without the mark that is used within.

    Raises:
        TrimixError: it cannot.
    """
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
