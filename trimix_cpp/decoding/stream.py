"""From the bytes of tokens to text that may be shown: whole characters, stop strings cut off."""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from ..characters import settled


class TextStream:
    """Collects the bytes of tokens and gives out text that nothing to come can change.

    A character may span several tokens, and a Tibetan stack, a Mongolian letter with its variation
    selector or an emoji sequence spans several code points: the last one is held back until the
    next begins. Text that may be the beginning of a stop string is held back too.

    Attributes:
        stopped: a stop string was found; it and what follows are not part of the text.
        dropped_bytes: bytes of an unfinished character at the end, known after `finish`.
    """

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self._parts: list[str] = []
        self.stopped = False
        self.dropped_bytes = 0

    @property
    def text(self) -> str:
        """Everything given out so far."""
        return "".join(self._parts)

    def push(self, data: bytes) -> str:
        """Take the bytes of one token; returns the text that is now certain, perhaps none."""
        if self.stopped:
            return ""
        self._held += self._decoder.decode(data)
        found = [at for at in map(self._held.find, self._stops) if at >= 0]
        if found:
            self.stopped = True
            return self._give(min(found))
        return self._give(min(settled(self._held), self._stop_begins()))

    def finish(self) -> str:
        """The rest, when no more bytes come; an unfinished character is dropped."""
        self.dropped_bytes = len(self._decoder.getstate()[0])
        return "" if self.stopped else self._give(len(self._held))

    def _give(self, end: int) -> str:
        text, self._held = self._held[:end], self._held[end:]
        self._parts.append(text)
        return text

    def _stop_begins(self) -> int:
        """Where the held text begins to look like a stop string that is not complete."""
        longest = max((len(stop) for stop in self._stops), default=0)
        for start in range(max(0, len(self._held) - longest + 1), len(self._held)):
            tail = self._held[start:]
            if any(stop.startswith(tail) for stop in self._stops):
                return start
        return len(self._held)
