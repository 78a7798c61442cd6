"""A text that comes piece by piece, and a conversation."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..decoding import Decoder
from ..files import Closing
from .results import Completion

if TYPE_CHECKING:
    from ..chat import Conversation, Turn
    from ..decoding import Text


class Stream(Iterator[str]):
    """The text of one prompt as it comes; `finish` runs to its end. Left early, it lets go."""

    def __init__(self, decoder: Decoder, text: Text) -> None:
        self._decoder, self._text = decoder, text
        self._pieces = _pieces(decoder, text)
        next(self._pieces)  # what is wrong with the prompt is told now

    def __next__(self) -> str:
        return next(self._pieces)

    def finish(self) -> Completion:
        """Generate what is left; the whole result."""
        for _ in self:
            pass
        return self.result

    @property
    def result(self) -> Completion:
        """What there is so far."""
        return Completion.of(self._text, _timings(self._text))

    def close(self) -> None:
        """Leave it where it is."""
        self._pieces.close()


def _pieces(decoder: Decoder, text: Text) -> Generator[str, None, None]:
    # No method: a stream that nobody holds any more must be freed, and give its place back.
    decoder.trio.require(text.roles)
    decoder.trio.check_length(text.n_prompt)
    try:
        decoder.submit(text)
        yield ""
        yield from decoder.stream(text)
    finally:
        decoder.drop(text)


def _timings(text: Text) -> dict[str, float]:
    timings = text.timings
    return {
        "prompt_seconds": round(timings.prompt_seconds, 6),
        "generation_seconds": round(timings.generation_seconds, 6),
        "tokens_per_second": round(timings.speed, 3),
    }


class Chat(Closing):
    """A conversation with the trio; a context manager.

    Attributes:
        conversation: what it wraps, for those who need more.
    """

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation

    @property
    def turns(self) -> list[Turn]:
        """Everything said, the oldest first: `user` and `reply` of each."""
        return self.conversation.turns

    def send(self, text: str) -> Completion:
        """Say something; the whole reply.

        Raises:
            ContextFullError: the message alone does not fit; the conversation is as it was.
            TrimixError: the chat template fails; the conversation is as it was.
        """
        return self._whole(self.conversation.send(text))

    def stream(self, text: str) -> Iterator[str]:
        """Say something; the reply as it comes. Raises as `send` does."""
        return self.conversation.send(text)

    def regenerate(self) -> Completion:
        """Another reply in place of the last one, with the next seed; the same if greedy.

        Raises:
            TrimixError: nothing was said yet; otherwise as `send`.
        """
        return self._whole(self.conversation.regenerate())

    def clear(self) -> None:
        """Forget the turns; the system message stays."""
        self.conversation.clear()

    def save(self, path: str | Path) -> None:
        """Write everything said to a JSON file; raises TrimixError where that cannot be."""
        self.conversation.save(Path(path))

    def load(self, path: str | Path) -> None:
        """Go on with a saved conversation; raises TrimixError where `path` is none."""
        self.conversation.load(Path(path))

    def close(self) -> None:
        """End a reply that is under way; harmless when done twice."""
        self.conversation.close()

    def _whole(self, pieces: Iterator[str]) -> Completion:
        for _ in pieces:
            pass
        text = self.conversation.text
        assert text is not None
        turn, whole = self.turns[-1], Completion.of(text, _timings(text))
        return replace(whole, text=turn.reply, thought=turn.thought)
