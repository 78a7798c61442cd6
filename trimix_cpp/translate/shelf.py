"""The aids of a run's files: memories and glossaries are read once for all of two languages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..documents import Document, Segment
from ..prompts import Language, language
from .aids import Aids, contexts
from .glossary_files import read_glossary
from .memory import Memory
from .pair_files import add_files


def aids_of(
    documents: Sequence[Document],
    memory: Sequence[Path] = (),
    glossary: Sequence[Path] = (),
    *,
    own: bool = True,
    context: bool = False,
) -> list[Aids]:
    """What helps with each of the documents, whose languages are known; in their order.

    `own`: what the documents hold translated already is remembered too, for all of one pair of
    languages. `context`: prompts tell where a text stands, and equal texts are taken over from the
    same context only.

    Raises:
        UsageError, TrimixError, OSError: as `add_files` and `read_glossary`.
    """
    found: dict[tuple[str | None, str | None], Memory] = {}
    sources: list[int | None] = []
    for document in documents:
        shared = found.setdefault((document.source, document.target), Memory(contexts=context))
        pairs = document.pairs if own else None
        sources.append(shared.add(pairs, labels=document.format.labels) if pairs else None)
    terms = {}
    for pair, shared in found.items():
        languages = language(str(pair[0])), language(str(pair[1]))
        add_files(shared, memory, *languages)
        terms[pair] = read_glossary(glossary, *languages) if glossary else None
    aids = []
    for document, first in zip(documents, sources, strict=True):
        pair = document.source, document.target
        around = contexts(document.segments, document.pairs or ()) if context else {}
        aids.append(Aids(found[pair], first, terms[pair], around, language(str(document.target))))
    return aids


def aids_for(
    segments: Sequence[Segment],
    source: Language,
    target: Language,
    memory: Sequence[Path] = (),
    glossary: Sequence[Path] = (),
    *,
    context: bool = False,
) -> Aids:
    """What helps with texts that are of no file; raises as `aids_of`."""
    remembered = Memory(contexts=context)
    add_files(remembered, memory, source, target)
    terms = read_glossary(glossary, source, target) if glossary else None
    return Aids(remembered, None, terms, contexts(segments, ()) if context else {}, target)
