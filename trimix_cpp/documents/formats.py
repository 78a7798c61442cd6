"""The formats of files that are translated: a module each, and a row here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .encodings import Kind
    from .segments import Body, FormatOptions


@dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
        name: as `--format` has it.
        extensions: of files' names.
        options: fields of `FormatOptions` that have a meaning for it.
        module, opener: what makes a `Body` of (text or bytes, name, options); imported when it is
            needed, for each format brings its own libraries.
        bilingual: it holds translations beside their texts (`segments.Bilingual`).
        labels: its texts are strings of programs, which may have keyboard accelerators.
        encodings: what it knows besides UTF-8 (`encodings.Kind`).
        binary: its body takes and gives bytes; such a file does not go through `-`.
    """

    name: str
    extensions: tuple[str, ...]
    options: frozenset[str]
    module: str
    opener: str
    labels: bool = False
    bilingual: bool = False
    encodings: frozenset[Kind] = frozenset()
    binary: bool = False

    def open(self, content: str | bytes, name: str, options: FormatOptions) -> Body:
        """The parsed file; raises TrimixError where it is not of this format."""
        module = import_module(f".{self.module}", __package__)
        opener: Callable[[str | bytes, str, FormatOptions], Body] = getattr(module, self.opener)
        return opener(content, name, options)


_XML: frozenset[Kind] = frozenset({"xml"})
_TABLE = frozenset({"column", "into", "header"})
FORMATS = {
    format.name: format
    for format in (
        Format("text", (".txt", ".text"), frozenset({"paragraphs"}), "plain", "PlainText"),
        Format("tsv", (".tsv", ".tab"), _TABLE, "tables", "open_tsv", bilingual=True),
        Format("csv", (".csv",), _TABLE, "tables", "CsvTable", bilingual=True),
        Format(
            "jsonl", (".jsonl", ".ndjson"), frozenset({"field", "into"}), "jsonl", "JsonLines",
            bilingual=True,
        ),
        Format(
            "po", (".po", ".pot"), frozenset({"fuzzy"}), "po", "PoFile", labels=True,
            bilingual=True,
        ),
        Format(
            "android", (".xml",), frozenset(), "android", "AndroidStrings", encodings=_XML
        ),
        Format(
            "stringsdict", (".stringsdict",), frozenset(), "stringsdict", "StringsDict",
            encodings=_XML,
        ),
        Format(
            "xliff", (".xlf", ".xliff"), frozenset({"fuzzy"}), "xliff", "open_xliff", labels=True,
            encodings=_XML, bilingual=True,
        ),
        Format(
            "ts", (".ts",), frozenset({"fuzzy"}), "qt", "QtTs", labels=True, encodings=_XML,
            bilingual=True,
        ),
        Format(
            "resx", (".resx", ".resw"), frozenset(), "resx", "Resx", labels=True, encodings=_XML
        ),
        Format("tmx", (".tmx",), frozenset(), "tmx", "Tmx", encodings=_XML, bilingual=True),
        Format("i18next", (".json",), frozenset(), "json_strings", "I18next"),
        Format("chrome", (".json",), frozenset(), "json_strings", "Chrome", labels=True),
        Format("arb", (".arb",), frozenset(), "json_strings", "Arb"),
        Format(
            "xcstrings", (".xcstrings",), frozenset({"fuzzy"}), "xcstrings", "XcStrings",
            bilingual=True,
        ),
        Format(
            "strings", (".strings",), frozenset(), "apple", "AppleStrings",
            encodings=frozenset({"utf-16"}),
        ),
        Format(
            "properties", (".properties",), frozenset(), "properties", "Properties", labels=True,
            encodings=frozenset({"java"}),
        ),
        Format("yaml", (".yml", ".yaml"), frozenset(), "yaml_texts", "YamlTexts"),
        Format(
            "ass", (".ass", ".ssa"), frozenset(), "substation", "SubStation",
            encodings=frozenset({"utf-16"}),
        ),
        Format("srt", (".srt",), frozenset(), "subtitles", "SubRip"),
        Format("vtt", (".vtt",), frozenset(), "subtitles", "WebVtt"),
        Format(
            "html", (".html", ".htm", ".xhtml", ".xht"), frozenset(), "html_text", "open_html",
            encodings=frozenset({"html", "xml"}),
        ),
        Format("docx", (".docx",), frozenset(), "docx", "Docx", binary=True),
        Format("odt", (".odt",), frozenset(), "odt", "Odt", binary=True),
        Format("epub", (".epub",), frozenset(), "epub", "Epub", binary=True),
        Format("markdown", (".md", ".markdown", ".mdx"), frozenset(), "markdown", "Markdown"),
    )
}  # fmt: skip
