"""A text inside another one, in the tokens of one model: what a token that it lacks is fed as."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..llama import Model

# What stands before the text while it is tokenized: some tokenizers put a space before a text's
# first word, and some merge it with what it begins with. The first that does neither serves.
_LEADS = ("\n", "a", "")


def spell(model: Model, raw: bytes) -> tuple[int, ...] | None:
    """The model's own ids of `raw` as it stands inside a text; names in it are text.

    None where its tokenizer gives no tokens with just these bytes: a part of a character, or a
    tokenizer that changes its text.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return None
    for lead in _LEADS:
        before, ids = model.tokenize(lead), model.tokenize(lead + text)
        own = ids[len(before) :]
        if ids[: len(before)] == before and b"".join(map(model.piece, own)) == raw:
            return tuple(own)
    return None
