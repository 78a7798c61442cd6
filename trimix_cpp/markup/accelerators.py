"""Keyboard accelerators of labels: `_Open`, `&Open`, `~Open`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .placeholders import Placeholder, find

# Marks of a keyboard accelerator: GTK's "_", Qt's and Windows' "&", LibreOffice's "~". Only "&" is
# looked for inside a word ("E&xit"): a "_" there is mostly part of a name.
_ACCELERATOR = re.compile(r"(?<![A-Z&\w])&(?=\w)|(?<=[a-z])&(?=[a-z])|(?<=\b[A-Z])&(?=[a-z])"
                          r"|(?<![\w_])_(?=[^\W_])|(?<![\w~/])~(?=[^\W\d_])")  # fmt: skip


@dataclass(frozen=True)
class Accelerator:
    """The keyboard accelerator of a label.

    Attributes:
        mark: `&`, `_` or `~`.
        key: the letter after it, in upper case.
        plain: the label without the mark.
    """

    mark: str
    key: str
    plain: str

    @property
    def token(self) -> str:
        """The mark and its letter, as it is appended to labels: "&O"."""
        return self.mark + self.key


def accelerator(text: str) -> Accelerator | None:
    """The accelerator of `text`, if it has exactly one."""
    found = accelerators(text)
    if len(found) != 1:
        return None
    at = found[0].start
    return Accelerator(text[at], text[at + 1].upper(), text[:at] + text[at + 1 :])


def append_accelerator(label: str, accelerator: Accelerator) -> str:
    """`label` with the accelerator as other scripts than Latin have it: "ئاچ(&O)".

    It goes before "...", "…" or a colon at the end.
    """
    bare = label.rstrip()
    for end in ("...", "…", ":", "："):
        bare = bare.removesuffix(end).rstrip() if bare == label.rstrip() else bare
    return f"{bare}({accelerator.token}){label[len(bare) :]}"


def accelerators(text: str) -> list[Placeholder]:
    """The marks in `text` that stand before a letter, outside of placeholders."""
    taken = iter(find(text))
    item = next(taken, None)
    found = []
    for match in _ACCELERATOR.finditer(text):
        at = match.start()
        while item is not None and item.end <= at:
            item = next(taken, None)
        if item is None or at < item.start:
            found.append(Placeholder("accelerator", text[at : at + 2], at, match.end()))
    return found


def without_accelerator(label: str) -> str:
    """`label` without its accelerator, wherever that stands: "Open", and "ئاچ" of "ئاچ(_O)"."""
    found = accelerator(label)
    if found is None:
        return label
    appended = re.compile(rf"\s?[(（]{re.escape(found.token)}[)）]", re.IGNORECASE)
    return appended.sub("", label) if appended.search(label) else found.plain
