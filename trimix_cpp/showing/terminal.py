"""Text that is safe for a terminal: what would steer it, or turn its reading around, is escaped."""

from __future__ import annotations

import re

# C0 and C1 controls, line and paragraph separators, embeddings, overrides and isolates of the
# bidirectional algorithm, halves of characters (names of files that are not UTF-8). Marks of
# direction and joiners stay: Uyghur and Persian are written with them.
_UNSAFE = re.compile("[\0-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_BREAK = re.compile(r"\s*\n\s*")


def safe(text: str, keep: str = "\n") -> str:
    r"""`text` with every character that could steer a terminal as its escape, such as `\x1b`.

    Args:
        text: from anywhere.
        keep: characters that stay as they are; a table's cell keeps none.
    """
    return _UNSAFE.sub(lambda m: m[0] if m[0] in keep else ascii(m[0])[1:-1], text)


def one_line(text: str) -> str:
    """`text` safe and on one line: line breaks with the spaces around them become a space."""
    return safe(_BREAK.sub(" ", text.strip()), keep="")


def safe_json(text: str) -> str:
    """A JSON document that says the same, with such characters as JSON's own escapes."""
    return _UNSAFE.sub(lambda m: m[0] if m[0] == "\n" else f"\\u{ord(m[0]):04x}", text)
