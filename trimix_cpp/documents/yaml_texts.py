"""YAML of Rails, Symfony and their like: string scalars, each replaced where it stands.

The parser's events tell where scalars are; nothing is built of them, so that aliases expand to
nothing and tags make no objects. What is written again is one scalar, in the style that it had, or
in double quotes where that style cannot hold it.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import TrimixError
from .icu_texts import Message, parse
from .lines import Edit, edited
from .plurals import CATEGORIES, categories, category_sources
from .segments import FormatOptions, Languages, Result, Segment
from .tags import code_of, tag_of

_DEEPEST = 200
# Plain scalars that are no strings, for YAML 1.1 and for Ruby; they come out as they are.
_NO_STRING = re.compile(
    r"~|null|true|false|yes|no|on|off|y|n|<<|=|[-+]?\.?[\d_][\d_.,:eExXa-fA-F+-]*|[-+]?\.inf|\.nan"
    r"|\d{4}-\d\d?-\d\d?(?:[Tt\s].*)?|:[\w?!.-]+",
    re.IGNORECASE,
)
_PROPERTIES = re.compile(r"(?:[&!]\S*\s+)+")
_HEADER = re.compile(r"[|>][-+0-9]*[ \t]*(?:#[^\r\n]*)?(?:\r\n|\r|\n)")
_ESCAPES = {"\n": "\\n", "\t": "\\t", "\r": "\\r", '"': '\\"', "\\": "\\\\", "\0": "\\0",
            "\x85": "\\N", "\u2028": "\\L", "\u2029": "\\P"}  # fmt: skip
_TEXT_TAGS = (None, "!", "tag:yaml.org,2002:str")


@dataclass
class _Scalar:
    """A scalar: its text, its style, and where it stands, anchors and tags apart."""

    text: str
    style: str
    start: int
    end: int
    in_flow: bool
    is_text: bool


@dataclass
class _Node:
    """A mapping or sequence, or a scalar, with what it stands under."""

    scalar: _Scalar | None = None
    flow: bool = False
    pairs: list[tuple[_Scalar | None, _Node]] = field(default_factory=list)


@dataclass(frozen=True)
class _Slot:
    """A scalar that is translated, or a plural form that is new behind another one."""

    scalar: _Scalar
    message: Message
    first: int
    name: str = ""  # of a new form
    key: _Scalar | None = None  # that of the form after which it comes


class YamlTexts:
    """A YAML file of texts. A single root key that is a language's tag becomes the target's."""

    def __init__(self, text: str, name: str, options: FormatOptions) -> None:
        self._text, self._name, self._options = text, name, options
        self._target = code_of(options.target)
        self._breaks = [match.start() for match in re.finditer("\n", text)]
        self.segments: list[Segment] = []
        self._slots: list[_Slot] = []
        self._groups: list[tuple[list[_Slot], list[Edit]]] = []
        roots = self._documents()
        self._root = _language_key(roots)
        self.languages = Languages(source=self._root.text if self._root else None)
        for root in roots:
            self._collect(root, "")

    def _documents(self) -> list[_Node]:
        """What the documents of the file are made of.

        Raises:
            TrimixError: it is no YAML, or nested too deeply.
        """
        from ruamel.yaml import YAML
        from ruamel.yaml.error import MarkedYAMLError

        try:
            return self._nodes(YAML(typ="safe", pure=True).parse(self._text))
        except TrimixError:
            raise
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            what = " ".join(str(error.problem or error.context or "cannot be read").split())
            line = mark.line + 1 if mark else 1
            raise TrimixError(f"{self._name}: line {line}: not YAML: {what}") from None
        except Exception as error:  # the parser has defects of its own
            what = " ".join(str(error).split())[:80] or type(error).__name__
            raise TrimixError(f"{self._name}: not YAML: {what}") from None

    def _nodes(self, events: Iterator[Any]) -> list[_Node]:
        from ruamel.yaml import events as kinds

        roots: list[_Node] = []
        above: list[tuple[_Node, bool]] = []  # and whether it is a mapping
        key: list[_Scalar | bool | None] = []  # of a mapping: False where a key comes next
        for event in events:
            node = None
            if isinstance(event, kinds.ScalarEvent):
                node = _Node(self._scalar(event, bool(above) and above[-1][0].flow))
            elif isinstance(event, kinds.AliasEvent):
                node = _Node()
            elif isinstance(event, kinds.MappingStartEvent | kinds.SequenceStartEvent):
                node = _Node(flow=bool(event.flow_style))
            elif isinstance(event, kinds.MappingEndEvent | kinds.SequenceEndEvent):
                above.pop()
                key.pop()
                continue
            if node is None:
                continue
            if not above:
                roots.append(node)
            elif not above[-1][1]:
                above[-1][0].pairs.append((None, node))
            elif key[-1] is False:
                key[-1] = node.scalar
                if isinstance(event, kinds.ScalarEvent | kinds.AliasEvent):
                    continue
            else:
                name = key[-1]
                above[-1][0].pairs.append((name if isinstance(name, _Scalar) else None, node))
                key[-1] = False
            if isinstance(event, kinds.MappingStartEvent | kinds.SequenceStartEvent):
                above.append((node, isinstance(event, kinds.MappingStartEvent)))
                key.append(False)
                if len(above) > _DEEPEST:
                    line = event.start_mark.line + 1
                    raise TrimixError(f"{self._name}: line {line}: YAML nested too deeply")
        return roots

    def _scalar(self, event: Any, in_flow: bool) -> _Scalar:
        start, end = event.start_mark.index, event.end_mark.index
        if properties := _PROPERTIES.match(self._text, start, end):
            start = properties.end()
        tag = str(event.tag) if event.tag is not None else None
        text, style = str(event.value), str(event.style or "")
        plain = not style
        is_text = tag in _TEXT_TAGS and not (plain and _NO_STRING.fullmatch(text) and tag is None)
        return _Scalar(text, style, start, end, in_flow, is_text)

    def _collect(self, node: _Node, path: str) -> None:
        if node.scalar is not None:
            if slot := self._slot(node.scalar, path):
                self._slots.append(slot)
            return
        forms = _forms(node)
        if forms and self._target:
            self._plural(node, forms, path)
            return
        for i, (key, inner) in enumerate(node.pairs):
            name = key.text if key is not None else str(i)
            self._collect(inner, f"{path}.{name}" if path else name)

    def _slot(
        self, scalar: _Scalar, path: str, form: int | None = None, text: str | None = None
    ) -> _Slot | None:
        text = scalar.text if text is None else text
        text = text.rstrip("\n") if scalar.style in ("|", ">") else text
        if not scalar.is_text or not text.strip():
            return None
        line = self._line(scalar.start)
        if re.search("[\ud800-\udfff]", text):
            raise TrimixError(f"{self._name}: line {line}: the text holds half of a surrogate pair")
        message = parse(text, self._target)
        first = len(self.segments)
        for each in message.texts:
            key, where = len(self.segments), f"{self._name}:{line}"
            self.segments.append(Segment(key, each, where, name=path, form=form))
        return _Slot(scalar, message, first)

    def _line(self, at: int) -> int:
        return bisect_right(self._breaks, at - 1) + 1

    def _plural(self, node: _Node, forms: Mapping[str, tuple[_Scalar, _Scalar]], path: str) -> None:
        """Forms as the target language has them."""
        assert self._target is not None
        own = categories(self._target)
        texts = {category: value.text for category, (_, value) in forms.items()}
        sources = category_sources(texts, self._target)
        if "zero" in forms:
            sources["zero"] = "zero"
        slots = []
        for category in (name for name in CATEGORIES if name in sources):
            key, value = forms.get(category, forms["other"])
            form = own.index(category) if category in own else None
            slot = self._slot(value, f"{path}.{category}", form, texts[sources[category]])
            if slot and category not in forms:
                slot = _Slot(value, slot.message, slot.first, category, key)
            slots += [slot] if slot else []
        gone = [
            self._whole_line(key.start, value.end)
            for category, (key, value) in forms.items()
            if category not in sources
        ]
        self._groups.append((slots, gone))

    def _whole_line(self, start: int, end: int) -> Edit:
        begin = self._text.rfind("\n", 0, start) + 1
        if self._text[end - 1 : end] == "\n":
            return begin, end, ""
        stop = self._text.find("\n", end)
        return begin, stop + 1 if stop >= 0 else len(self._text), ""

    def render(self, results: Mapping[int, Result]) -> str:
        """The file with the results in the places of their scalars."""
        edits = [edit for slot in self._slots for edit in self._edits(slot, results)]
        for slots, gone in self._groups:
            found = [edit for slot in slots for edit in self._edits(slot, results)]
            edits += [*found, *gone] if found else []
        if edits and self._root is not None and self._options.target:
            root = self._root
            tag = tag_of(self._options.target, "_" if "_" in root.text else "-")
            edits.append((root.start, root.end, _spelled(tag, root)))
        return edited(self._text, edits)

    def _edits(self, slot: _Slot, results: Mapping[int, Result]) -> Iterator[Edit]:
        own = slot.message.texts
        keys = range(slot.first, slot.first + len(own))
        texts = [results[key].text if key in results else text
                 for key, text in zip(keys, own, strict=True)]  # fmt: skip
        if texts == own and not (slot.name and any(key in results for key in keys)):
            return
        new, scalar = slot.message.spelled(texts), slot.scalar
        if slot.key is not None:
            begin = self._text.rfind("\n", 0, slot.key.start) + 1
            indent = self._text[begin : slot.key.start]
            start, end, _ = self._whole_line(slot.key.start, scalar.end)
            last = self._text[start:end]
            stop = "\r\n" if last.endswith("\r\n") else "\n"
            before = "" if last.endswith("\n") else stop
            yield (
                end,
                end,
                f"{before}{indent}{slot.name}: {_quoted(new)}{stop if not before else ''}",
            )
        elif scalar.style in ("|", ">"):
            yield self._block(new, scalar)
        else:
            yield scalar.start, scalar.end, _spelled(new, scalar)

    def _block(self, new: str, scalar: _Scalar) -> Edit:
        """A block scalar with another text; in quotes where a block cannot hold that."""
        raw = self._text[scalar.start : scalar.end]
        header = _HEADER.match(raw)
        body = raw[header.end() :] if header else ""
        lines = body.splitlines(keepends=True)
        full = [line for line in lines if line.strip()]
        sound = header and full and not any(char in header[0].split("#")[0] for char in "123456789")
        lines_new = new.split("\n")
        if scalar.style == ">":
            sound = sound and not any(line[:1] in (" ", "\t") for line in lines_new)
        if not sound or header is None or new[:1].isspace() or not _printable(new):
            tail = raw[len(raw.rstrip("\r\n \t")) :] if body.strip() else "\n"
            kept = scalar.text[len(scalar.text.rstrip("\n")) :]
            return scalar.start, scalar.end, _quoted(new + kept) + tail
        indent = full[0][: len(full[0]) - len(full[0].lstrip(" "))]
        end = "\r\n" if header[0].endswith("\r\n") else "\n"
        joined = (end + end if scalar.style == ">" else end).join(
            indent + line if line.strip() else line for line in lines_new
        )
        last = max(i for i, line in enumerate(lines) if line.strip())
        bare = lines[last].rstrip("\r\n")
        tail = lines[last][len(bare) :] + "".join(lines[last + 1 :])
        return scalar.start, scalar.end, header[0] + joined + tail


def _language_key(roots: Sequence[_Node]) -> _Scalar | None:
    """The root key of a file of Rails: it names the language, and all else is under it."""
    if len(roots) != 1 or len(roots[0].pairs) != 1:
        return None
    key, inner = roots[0].pairs[0]
    mapping = bool(inner.pairs) and inner.pairs[0][0] is not None
    return key if key is not None and mapping and code_of(key.text) else None


def _forms(node: _Node) -> dict[str, tuple[_Scalar, _Scalar]]:
    """The plural forms that a mapping holds: strings under CLDR's categories, a line each."""
    forms = {}
    for key, inner in node.pairs:
        if key is None or key.text not in CATEGORIES or inner.scalar is None:
            return {}
        if not inner.scalar.is_text or node.flow:
            return {}
        forms[key.text] = (key, inner.scalar)
    return forms if "other" in forms and len(forms) == len(node.pairs) else {}


def _spelled(text: str, like: _Scalar) -> str:
    """A flow scalar in the style of another one, or in double quotes."""
    if like.style == "'" and _printable(text) and "\n" not in text:
        return "'" + text.replace("'", "''") + "'"
    if not like.style and _is_plain(text, like.in_flow):
        return text
    return _quoted(text)


def _is_plain(text: str, in_flow: bool) -> bool:
    """Whether `text` is a string as it stands: it begins with a letter, and has no marks."""
    return (
        text[:1].isalpha()
        and text == text.strip()
        and _printable(text)
        and not re.search(r"\n|\t|:(?:\s|$)|\s#" + (r"|[,\[\]{}:?]" if in_flow else ""), text)
        and not _NO_STRING.fullmatch(text)
    )


def _printable(text: str) -> bool:
    r"""Whether YAML takes every character as it is; its line breaks are `\n` alone."""
    return not any(
        char in "\r\x85\u2028\u2029\ufeff\ufffe\uffff"
        or (char not in "\n\t" and unicodedata.category(char) in ("Cc", "Cs"))
        for char in text
    )


def _quoted(text: str) -> str:
    def char(each: str) -> str:
        if each in _ESCAPES:
            return _ESCAPES[each]
        if each in "\ufeff\ufffe\uffff" or unicodedata.category(each) in ("Cc", "Cs"):
            return f"\\x{ord(each):02x}" if ord(each) < 0x100 else f"\\u{ord(each):04x}"
        return each

    return '"' + "".join(map(char, text)) + '"'
