"""A text gets a place: what it needs is there, and what others left in the caches is used again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..errors import FullError
from ..llama import interrupts_deferred
from .engine import Engine
from .lanes import Lanes
from .parts import lanes_of
from .prefixes import Held
from .text import Text
from .trio import Trio


def prepare(trio: Trio, text: Text) -> None:
    """Load the roles of a text, and see that it fits.

    Raises:
        ContextFullError: it does not.
        TrimixError: a role cannot be had.
    """
    trio.require(text.roles)
    own = [len(prompt) for prompt in text.prompts.values()]
    length = max(own) if own else trio.length(text.roles, text.tokens)
    trio.check_length(length, answer=text.max_tokens != 0)
    if text.control == "fused":
        trio.tell_lacked(text.roles)
    text.wants = trio.first_row(text)


def place(trio: Trio, text: Text, running: Iterable[Text]) -> None:
    """Give a text lanes, with as much of its prompt in them as another text left, or has.

    Raises:
        FullError: no place is free.
    """
    start = min(text.wants, text.n_prompt - 1)
    held = [*trio.prefixes, *(Held(t.tokens, lanes_of(t), True) for t in running)]
    gains = [(other.gain(text.tokens, text.roles, start), other) for other in held]
    (gain, length), source = max(gains, key=lambda each: each[0], default=((0, 0), None))
    if source is None or not gain:
        text.lanes = Lanes(trio)
        text.lanes.begin(text.tokens, start, text.prompts)
        return
    # What would hardly be of use to another is taken over, and what stands in the way of room.
    moves = not source.pinned and 2 * length >= source.lanes.longest
    if not moves:
        try:
            lanes = Lanes(trio, source)
            lanes.copy(source.lanes, length, text.roles)
        except FullError:
            if source.pinned:
                raise
            moves = True
    if moves:
        lanes = trio.prefixes.drop(source)
        lanes.rewind(length)
    elif source in trio.prefixes:
        trio.prefixes.touch(source)
    text.lanes = lanes
    lanes.begin(text.tokens, start, text.prompts)
    text.n_cached = min(lanes.cached(role) for role in text.roles)


def pin(engine: Engine, tokens: Sequence[int], roles: Iterable[str]) -> Held:
    """Evaluate the beginning of many prompts once, and hold it; see `Decoder.pin`."""
    trio = engine.trio
    trio.require(roles)
    trio.check_length(len(tokens))
    with interrupts_deferred():
        lanes = Lanes(trio)
    try:
        lanes.begin(tokens, len(tokens) - 1)
        for role in roles:
            engine.catch_up(lanes, role, tokens)
    except BaseException:
        lanes.close()
        raise
    return trio.prefixes.keep(Held(list(tokens), lanes, pinned=True))
