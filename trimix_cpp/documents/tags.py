"""Tags of languages as files have them."""

from __future__ import annotations

import re

from ..errors import UsageError
from ..prompts import language


def code_of(tag: str | None) -> str | None:
    """The code of the language that a file names; None for none, or one that is not known here."""
    try:
        return language(tag).code if tag else None
    except UsageError:
        return None


def tag_of(target: str, like: str = "-") -> str:
    """The tag of a language as files have it: ISO 639-1 where there is one, "ug" for "uig".

    `like` is what stands between its parts: "-" as in BCP 47, "_" as in locales.
    """
    first, *rest = re.split("[-_]", re.sub(r"[.@].*", "", target))
    known = language(first)
    return like.join([(known.aliases or (known.code,))[0] if len(first) == 3 else first, *rest])
