"""Files of terms: what a memory may be, of terms; and TBX."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..documents import XML, Element, parse, unescaped
from ..errors import TrimixError, UsageError
from ..files import decode_utf8, read_bytes
from ..prompts import Language, language, varieties
from .glossary import MAX_WORDS, Glossary
from .pair_files import open_pairs
from .recipe import Shot
from .words import words

# ISO 30042 of 2008 and of 2019, and their older names.
_CONCEPTS = ("termEntry", "conceptEntry")
_LANGUAGES = ("langSet", "langSec")
_LONGEST = 200  # characters of a term
_SYNONYMS = 20  # of a concept in one language


def read_glossary(paths: Iterable[Path], source: Language, target: Language) -> Glossary:
    """The terms of these files: TBX, or a format that holds pairs (`pair_files.open_pairs`).

    Raises:
        UsageError: a format cannot be told, or holds no translations.
        TrimixError: a file is not of its format, holds no term, or a sentence.
        OSError: it cannot be read.
    """
    terms: list[Shot] = []
    for path in paths:
        found = [pair for pair in _terms(path, source, target) if all(pair)]
        if not found:
            raise TrimixError(f"{path}: has no term in both {source.name} and {target.name}")
        for term in (side for pair in found for side in pair):
            if len(words(term)) > MAX_WORDS or len(term) > _LONGEST:
                raise TrimixError(
                    f"{path}: is no term, but a text of {len(term)} characters: {term[:40]}…; "
                    f"translations of texts go to --memory"
                )
        terms += found
    return Glossary(terms, source)


def _terms(path: Path, source: Language, target: Language) -> Iterator[Shot]:
    if path.suffix.lower() == ".tbx":
        yield from _tbx(path, source, target)
        return
    for pair in open_pairs(path, source, target).pairs or ():
        if not pair.fuzzy:
            yield pair.segment.text.strip(), pair.translation.strip()


def _tbx(path: Path, source: Language, target: Language) -> Iterator[Shot]:
    text = decode_utf8(read_bytes(path), str(path))
    root = parse(text, str(path))
    if root is None:
        return
    for concept in root.walk(*_CONCEPTS):
        sides: tuple[list[str], list[str]] = ([], [])
        for section in concept.walk(*_LANGUAGES):
            code = _code(section.attributes.get(f"{XML} lang") or section.attributes.get("lang"))
            for side, wanted in zip(sides, (source, target), strict=True):
                if code in varieties(wanted.code):
                    side += [_text(text, term) for term in section.walk("term")]
        for term in sides[0][:_SYNONYMS]:
            for translation in sides[1][:_SYNONYMS]:
                yield term, translation


def _code(tag: str | None) -> str | None:
    try:
        return language(tag).code if tag else None
    except UsageError:
        return None


def _text(text: str, element: Element) -> str:
    inner = text[element.inner : element.inner_end]
    bare = re.sub(r"<!--.*?-->|<!\[CDATA\[|\]\]>|<[^<>]*>", "", inner, flags=re.DOTALL)
    return " ".join(unescaped(bare).split())
