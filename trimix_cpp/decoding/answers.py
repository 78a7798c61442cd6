"""The one way to answer many prompts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ..fusion import DRAFT
from .decoder import Decoder
from .text import Text


def generate(
    decoder: Decoder, texts: Iterable[Text], beginning: Sequence[int] = ()
) -> Iterator[Text]:
    """Decode texts, as many at a time as there are places; each as it ends.

    Args:
        decoder: of a trio with the roles of the texts.
        texts: their `tag` may say what they are.
        beginning: what all prompts begin with (`common_beginning`), which is evaluated once.

    Raises:
        TrimixError: what ended one of them; the others are cancelled.
    """
    trio = decoder.trio
    roles = [role for role in trio.roles if role != DRAFT]
    # Its last token is left to each text, for the row that predicts what follows.
    held = decoder.pin(beginning[:-1], roles) if len(beginning) > 1 < trio.n_parallel else None
    try:
        for text in decoder.run(texts):
            text.raise_error()
            yield text
    finally:
        if held:
            decoder.unpin(held)
