"""gettext PO files: what is not translated yet is sent.

Only the strings of a translated message, its flags and its previous text are replaced in the text
of the file; a writer of PO files would wrap and order everything anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ..errors import TrimixError
from ..markup import placeholders
from ..prompts import language
from .encodings import same_codec
from .lines import Edit, edited, one_line
from .plurals import Plurals, of_header, of_language
from .po_syntax import Message, PoSyntaxError, literal, parse, spellings
from .segments import FormatOptions, Languages, Pair, Result, Segment

NOTE = "# trimix-cpp: "  # what a translator comment of ours begins with

_WIDTH = 78  # gettext's default, with the quotation marks
# Contexts as they were before msgctxt: KDE's "_: Button\n", and "noun|Print" of glib and others.
_KDE_CONTEXT = re.compile(r"_: [^\n]*\n(?=.)", re.DOTALL)
_CONTEXT = re.compile(r"[A-Za-z][\w .:/-]{0,60}\|(?=[^\s|][^|]*$)")


@dataclass
class _Entry:
    """A message, and the key of each of its forms that has a text."""

    message: Message
    keys: dict[int | None, int] = field(default_factory=dict)


class PoFile:
    """A PO catalogue, or a template.

    Messages without a translation are sent, and fuzzy ones with the option; obsolete ones never.
    Of a message with plural forms, every form of the *target* language is a segment: the one that
    is for n = 1 from msgid, the others from msgid_plural. A translated message loses `fuzzy` and
    its previous text (`#|`); a flagged one becomes fuzzy and gets a comment that says why.

    What a template leaves open in its header is filled in when something is translated: the
    charset, Language, and Plural-Forms if there are plural messages.
    """

    def __init__(self, text: str, name: str, options: FormatOptions) -> None:
        self._text, self._name = text, name
        try:
            messages = [message for message in parse(text) if not message.obsolete]
        except PoSyntaxError as error:
            raise TrimixError(f"{name}: {error}") from None
        self._header = next((m for m in messages if _is_header(m)), None)
        self._metadata = _metadata(self._header)
        self.languages = Languages(target=self._metadata.get("language") or None)
        self._check_charset(options.encoding)
        self._target = language(options.target) if options.target else None
        self._messages = [message for message in messages if not _is_header(message)]
        self._plurals = self._plural_forms()
        self._width = _wrap_width(text)
        self._entries: list[_Entry] = []
        self.segments: list[Segment] = []
        self.pairs: list[Pair] = []
        key = 0
        for message in self._messages:
            key = self._collect(message, key, options.fuzzy)

    def _check_charset(self, encoding: str | None) -> None:
        match = re.search(r"charset=([\w.:-]+)", self._metadata.get("content-type", ""))
        read, _, written = (encoding or "utf-8").partition(":")
        self._charset = written or None
        if match and match[1] != "CHARSET" and not same_codec(match[1], read):
            raise TrimixError(
                f"{self._name}: the header says charset={match[1]}; say --encoding {match[1]}, or "
                f"convert the file with gettext's msgconv -t UTF-8"
            )

    def _plural_forms(self) -> Plurals:
        """Those of the header; else as many as its translations have, or the language's."""
        try:
            given = of_header(self._metadata.get("plural-forms", ""))
        except ValueError as error:
            why = one_line(str(error))
            raise TrimixError(
                f"{self._name}: the header's Plural-Forms make no sense ({why}); correct them"
            ) from None
        if given:
            return given
        own = of_language(self._target.code if self._target else "")
        translated = [m for m in self._messages if m.plural and m.forms[0].value]
        count = max((len(message.forms) for message in translated), default=own.count)
        if count == own.count:
            return own
        if count > 2:
            raise TrimixError(
                f"{self._name}: its messages have {count} plural forms, and no Plural-Forms in the "
                f"header say which number takes which; add them"
            )
        return Plurals(count, "0" if count == 1 else "(n != 1)")

    def _collect(self, message: Message, key: int, fuzzy: bool) -> int:
        """Add the segments of a message, whose first key is `key`; returns the next message's."""
        entry = _Entry(message)
        stale = "fuzzy" in message.flags
        for form, source in self._sources(message):
            done = message.forms[form].value if form in message.forms else ""
            if source:
                entry.keys[form] = key
                segment = self._segment(message, key, form, source)
                if done:
                    self.pairs.append(Pair(segment, done, stale))
                if (fuzzy and stale) or not done:
                    self.segments.append(segment)
            key += 1
        self._entries.append(entry)
        return key

    def _segment(self, message: Message, key: int, form: int | None, source: str) -> Segment:
        text, inner, notes = _without_context(source)
        contexts = (message.context.value if message.context else "", inner)
        return Segment(
            key,
            text,
            f"{self._name}:{message.line}",
            frozenset(flag for flag in message.flags if flag.endswith("-format")),
            notes,
            context=" ".join(filter(None, contexts)),
            comment=_comment(message),
            form=form,
        )

    def _sources(self, message: Message) -> Iterator[tuple[int | None, str]]:
        """The forms that its translation has in the target language, and what each is made from."""
        one = message.id.value if message.id else ""
        if message.plural is None:
            yield None, one
            return
        many = message.plural.value
        # "One file" would do for 1, but not for 21, which has the same form in Russian.
        same = placeholders(one) == placeholders(many)
        single = self._plurals.for_one() if same else self._plurals.for_one_only()
        for form in range(self._plurals.count):
            yield form, one if form == single and self._plurals.count > 1 else many

    def render(self, results: Mapping[int, Result]) -> str:
        """The catalogue with the results; messages without any are left as they are."""
        edits: list[Edit] = []
        plural = False
        for entry in self._entries:
            found = {form: results[key] for form, key in entry.keys.items() if key in results}
            if found:
                plural = plural or entry.message.plural is not None
                edits += self._edits(entry.message, found)
        if edits and self._header:
            edits += self._header_edits(self._header, plural)
        return edited(self._text, edits)

    def _edits(self, message: Message, found: Mapping[int | None, Result]) -> Iterator[Edit]:
        """What changes in a message that gets results."""
        flagged = [result for result in found.values() if result.flagged]
        reasons = dict.fromkeys(reason for result in flagged for reason in result.reasons)
        yield from self._comment_edits(message, bool(flagged), list(reasons))
        last = next(iter(message.forms.values()))
        end = self._line_end(message.start)
        texts = [strings for strings in (message.plural, message.id) if strings]
        spelled = {char: way for strings in texts for char, way in spellings(strings).items()}
        stale = "fuzzy" in message.flags
        more = []
        for form in dict.fromkeys([*message.forms, *range(self._count(message))]):
            strings = message.forms.get(form)
            keyword = "msgstr" if form is None else f"msgstr[{form}]"
            new = ['""']
            if form in found:
                new = literal(found[form].text, keyword, self._width, spelled)
                new = [_bytes_again(line, message) for line in new]
            if strings is None:
                more.append(end + keyword + " " + end.join(new))
            elif form in found:
                yield strings.tokens[0].start, strings.end, end.join(new)
                last = strings
            elif form is not None and form >= self._plurals.count and (stale or not strings.value):
                # A template has two forms, whatever the language.
                yield self._text.rindex('"', 0, strings.start) + 1, strings.end, ""
            else:
                last = strings
        if more:
            yield last.end, last.end, "".join(more)

    def _count(self, message: Message) -> int:
        return self._plurals.count if message.plural else 0

    def _line_end(self, at: int) -> str:
        stop = self._text.find("\n", at)
        return "\r\n" if stop > 0 and self._text[stop - 1] == "\r" else "\n"

    def _comment_edits(self, message: Message, flagged: bool, reasons: list[str]) -> Iterator[Edit]:
        """No previous text, `fuzzy` only if it is flagged, and why."""
        end = self._line_end(message.start)
        for span in message.previous:
            yield self._whole_line(span.start, span.end)
        own, marked = None, not flagged
        for comment in message.comments:
            body = comment.text.rstrip("\r")
            if body.startswith(NOTE):
                yield self._whole_line(comment.start, comment.end)
            elif body.startswith("#,"):
                flags = [flag.strip() for flag in body[2:].split(",")]
                others = [flag for flag in flags if flag and flag != "fuzzy"]
                if marked and "fuzzy" not in flags:
                    continue
                new = ([] if marked else ["fuzzy"]) + others
                marked = True
                if new:
                    yield comment.start, comment.start + len(body), f"#, {', '.join(new)}"
                else:
                    yield self._whole_line(comment.start, comment.end)
            elif re.match(r"#(?:\s|$)", body):
                own = comment
        start = message.previous[0].start if message.previous else message.start
        if reasons:
            # Translator comments stand first.
            note = one_line(NOTE + "; ".join(reasons))
            first = min([start, *(comment.start for comment in message.comments)])
            at = min(own.end + 1, start) if own else first
            yield at, at, note + end
        if not marked:
            yield start, start, f"#, fuzzy{end}"

    def _whole_line(self, start: int, end: int) -> Edit:
        """Take out a line; what stands before it on the line stays, with its end."""
        if start == 0 or self._text[start - 1] == "\n":
            return start, min(end + 1, len(self._text)), ""
        return start, end, ""

    def _header_edits(self, header: Message, plural: bool) -> Iterator[Edit]:
        """What a template leaves open in its header."""
        code = (self._target.aliases[:1] or (self._target.code,))[0] if self._target else None
        strings = header.forms[None]
        for token in strings.tokens:
            charset = self._charset or "UTF-8"
            text = token.text.replace("charset=CHARSET", f"charset={charset}")
            if self._charset:
                text = re.sub(r"charset=[\w.:-]+", f"charset={charset}", text)
            if code:
                text = re.sub(r'^"Language:\s*\\n', rf'"Language: {code}\\n', text)
            if plural and self._target:
                text = text.replace("nplurals=INTEGER; plural=EXPRESSION;", self._plurals.header)
            if text != token.text:
                yield token.start, token.end, text
        if plural and self._target and not self._metadata.get("plural-forms"):
            begin = "" if strings.value.endswith("\n") or not strings.value else r"\n"
            line = f'"{begin}Plural-Forms: {self._plurals.header}\\n"'
            yield strings.end, strings.end, self._line_end(header.start) + line


def _is_header(message: Message) -> bool:
    return message.context is None and message.id is not None and not message.id.value


def _metadata(header: Message | None) -> dict[str, str]:
    """The fields of the header, by name in lower case."""
    strings = header.forms.get(None) if header else None
    lines = strings.value.split("\n") if strings else []
    fields = (line.partition(":") for line in lines)
    return {name.strip().lower(): value.strip() for name, _, value in fields}


def _without_context(source: str) -> tuple[str, str, tuple[str, ...]]:
    """The text that is meant, the context at its front, and what is to be said of that."""
    if match := _KDE_CONTEXT.match(source):
        return source[match.end() :], match[0][2:].strip(), ()
    if match := _CONTEXT.match(source):
        told = f"begins with a context, perhaps: {match[0]}"
        return source[match.end() :], match[0][:-1], (told,)
    return source, "", ()


def _comment(message: Message) -> str:
    """What programmers and translators wrote above a message, for whoever translates it."""
    lines = [comment.text for comment in message.comments]
    said = [line[2:] for line in lines if re.match(r"#[.\s]", line) and not line.startswith(NOTE)]
    return " ".join(" ".join(said).split())


def _bytes_again(line: str, message: Message) -> str:
    r"""A byte that is no text (`\377`) was sent as its escape: it is one again."""
    spelled = message.id.value if message.id else ""
    for escape in set(re.findall(r"\\[2-3][0-7]{2}", spelled)):
        line = line.replace("\\" + escape, escape)
    return line


def _wrap_width(text: str) -> int:
    """0 if the file has lines that gettext would have wrapped."""
    for line in text.split("\n"):
        # Escapes stand in the file with a character more.
        line = line.strip()
        long = len(line) - 2 * line.count("\\") > _WIDTH + 2 and line.startswith(("msg", '"'))
        if long and re.search(r'"[^"]*\S +[^"\s]', line):
            return 0
    return _WIDTH
