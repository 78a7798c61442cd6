"""The aids of a run's files: memories are read once for all files of two languages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..prompts import language
from .aids import Aids
from .documents import Document
from .memory import Memory
from .pair_files import add_files


def aids_of(documents: Sequence[Document], memory: Sequence[Path] = (), *, own: bool) -> list[Aids]:
    """What helps with each of the documents, whose languages are known; in their order.

    `own`: what the documents hold translated already is remembered too, for all of one pair of
    languages.

    Raises:
        UsageError, TrimixError, OSError: as `add_files`.
    """
    found: dict[tuple[str | None, str | None], Memory] = {}
    sources: list[int | None] = []
    for document in documents:
        shared = found.setdefault((document.source, document.target), Memory())
        pairs = document.pairs if own else None
        sources.append(shared.add(pairs, labels=document.format.labels) if pairs else None)
    for (source, target), shared in found.items():
        add_files(shared, memory, language(str(source)), language(str(target)))
    return [
        Aids(found[document.source, document.target], first)
        for document, first in zip(documents, sources, strict=True)
    ]
