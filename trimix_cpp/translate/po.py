"""gettext PO files: what is not translated yet is sent.

polib reads the entries. It is not used to write them: it wraps every string and comment anew, puts
header fields into its own order and obsolete entries at the end. So only the lines of a
translated entry are replaced in the text of the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import polib

from ..errors import TrimixError
from ..prompts import language
from .lines import one_line
from .placeholders import placeholders
from .plurals import Plurals, of_header, of_language
from .segments import FormatOptions, Result, Segment

NOTE = "# trimix-cpp: "  # what a translator comment of ours begins with

# Characters at which Python's splitlines, and with it polib, would cut a line.
_BREAKS = "\v\f\x1c\x1d\x1e\x85\u2028\u2029\r"
_STRING = re.compile(
    r'(?:(?:msgctxt|msgid|msgid_plural|msgstr|msgstr\[\d\])\s+)?"(?:[^"\\]|\\.)*"\s*'
)
_Reveal = Callable[[str], str]
_WIDTH = 78  # polib's and, with the quotation marks, gettext's default


@dataclass
class _Entry:
    """An entry and the lines it has in the file, `start` to `stop`."""

    entry: polib.POEntry
    start: int
    stop: int
    keys: dict[int | None, int] = field(default_factory=dict)  # plural form (or None): key


class PoFile:
    """A PO catalogue, or a template.

    Entries without a translation are sent, and fuzzy ones with the option; obsolete ones never.
    Of an entry with plural forms, every form of the *target* language is a segment: the one that
    is for n = 1 from msgid, the others from msgid_plural. A translated entry loses `fuzzy` and
    its previous msgid (`#|`); a flagged one becomes fuzzy and gets a comment that says why.

    What a template leaves open in its header is filled in when something is translated: the
    charset, Language, and Plural-Forms if there are plural entries.
    """

    def __init__(self, text: str, name: str, options: FormatOptions) -> None:
        self._name = name
        self._lines = text.split("\n")
        catalog, reveal = _parse(self._lines, name)
        self._metadata = {key: reveal(value) for key, value in catalog.metadata.items()}
        self._check_charset()
        self._target = language(options.target) if options.target else None
        self._plurals = self._plural_forms()
        self._width = _wrap_width(self._lines)
        self._entries: list[_Entry] = []
        self.segments: list[Segment] = []
        starts = [max((entry.linenum or 1) - 1, 0) for entry in catalog]
        key = 0
        stops = [*starts, len(self._lines)][1:]
        for entry, start, stop in zip(catalog, starts, stops, strict=True):
            if not entry.obsolete:
                item = _Entry(_revealed(entry, reveal), start, stop)
                key = self._collect(item, key, options.fuzzy)
                self._entries.append(item)
        self._header_stop = starts[0] if starts else len(self._lines)

    def _check_charset(self) -> None:
        match = re.search(r"charset=([\w.:-]+)", self._metadata.get("Content-Type", ""))
        if match and match[1].lower() not in ("utf-8", "utf8", "charset"):
            raise TrimixError(
                f"{self._name}: the header says charset={match[1]}; convert the file with "
                f"gettext's msgconv -t UTF-8"
            )

    def _plural_forms(self) -> Plurals:
        try:
            given = of_header(self._metadata.get("Plural-Forms", ""))
        except ValueError as error:
            why = one_line(str(error))
            raise TrimixError(
                f"{self._name}: the header's Plural-Forms make no sense ({why}); correct them"
            ) from None
        return given or of_language(self._target.code if self._target else "")

    def _collect(self, item: _Entry, key: int, fuzzy: bool) -> int:
        """Add the segments of an entry, whose first key is `key`; returns the next entry's."""
        entry = item.entry
        again = fuzzy and "fuzzy" in entry.flags
        forms: list[tuple[int | None, str, str]] = [(None, entry.msgid, entry.msgstr)]
        if entry.msgid_plural:
            count = self._plurals.count
            forms = [
                (i, self._plural_source(entry, i), entry.msgstr_plural.get(i, ""))
                for i in range(count)
            ]
        own = range(item.start, item.stop)
        at = [
            next((i for i in own if self._lines[i].lstrip().startswith(keyword)), None)
            for keyword in ("msgid", "msgstr")
        ]
        if at[0] is None or at[1] is None:
            raise TrimixError(
                f"{self._name}: line {item.start + 1}: not gettext PO "
                f"(a message without {'msgid' if at[0] is None else 'msgstr'})"
            )
        syntax = frozenset(flag for flag in entry.flags if flag.endswith("-format"))
        for form, source, done in forms:
            if source and (again or not done):
                item.keys[form] = key
                self.segments.append(Segment(key, source, f"{self._name}:{at[0] + 1}", syntax))
            key += 1
        return key

    def _plural_source(self, entry: polib.POEntry, form: int) -> str:
        # "One file" would do for 1, but not for 21, which has the same form in Russian.
        same = placeholders(entry.msgid) == placeholders(entry.msgid_plural)
        one = self._plurals.for_one() if same else self._plurals.for_one_only()
        alone = self._plurals.count == 1
        return str(entry.msgid if form == one and not alone else entry.msgid_plural)

    def render(self, results: Mapping[int, Result]) -> str:
        """The catalogue with the results; entries without any are left as they are."""
        out: list[str] = []
        at = 0
        plural = False
        for item in self._entries:
            found = {form: results[key] for form, key in item.keys.items() if key in results}
            if not found:
                continue
            plural = plural or bool(item.entry.msgid_plural)
            out += self._lines[at : item.start]
            out += self._rewritten(item, found)
            at = item.stop
        out += self._lines[at:]
        if at:
            out[: self._header_stop] = self._filled_header(plural)
        return "\n".join(out)

    def _rewritten(self, item: _Entry, found: Mapping[int | None, Result]) -> list[str]:
        """The lines of an entry with its results."""
        lines = self._lines[item.start : item.stop]
        end = "\r" if lines[0].endswith("\r") else ""
        first = next(i for i, line in enumerate(lines) if line.lstrip().startswith("msg"))
        comments, rest = lines[:first], lines[first:]
        begin = next(i for i, line in enumerate(rest) if line.lstrip().startswith("msgstr"))
        stop = _strings_end(rest, begin)
        # What follows the strings is kept: blank lines, comments that belong to no entry.
        translated = self._strings(item.entry, found, rest[begin:stop])
        reasons = dict.fromkeys(
            reason for result in found.values() if result.flagged for reason in result.reasons
        )
        flagged = any(result.flagged for result in found.values())
        comments = _comments([line.rstrip("\r") for line in comments], flagged, list(reasons))
        fresh = [line + end for line in comments]
        return fresh + rest[:begin] + [line.rstrip("\r") + end for line in translated] + rest[stop:]

    def _strings(
        self, entry: polib.POEntry, found: Mapping[int | None, Result], old: Sequence[str]
    ) -> list[str]:
        """The msgstr lines; a form without a result keeps its own."""
        if None in found:
            return _wrapped("msgstr", found[None].text, self._width)
        out: list[str] = []
        for i in range(max(self._plurals.count, len(entry.msgstr_plural))):
            own = [n for n, line in enumerate(old) if line.lstrip().startswith(f"msgstr[{i}]")]
            if i in found:
                out += _wrapped(f"msgstr[{i}]", found[i].text, self._width)
            elif own:
                out += old[own[0] : _strings_end(old, own[0] + 1, ('"',))]
            else:
                out.append(f'msgstr[{i}] ""')
        return out

    def _filled_header(self, plural: bool) -> list[str]:
        """The header's lines, with what a template leaves open."""
        lines = self._lines[: self._header_stop]
        given = self._metadata.get("Plural-Forms", "")
        code = (self._target.aliases[:1] or (self._target.code,))[0] if self._target else None
        for i, line in enumerate(lines):
            line = line.replace("charset=CHARSET", "charset=UTF-8")
            if code:
                line = re.sub(r'^"Language:\s*\\n"', rf'"Language: {code}\\n"', line)
            if plural and self._target:
                line = line.replace("nplurals=INTEGER; plural=EXPRESSION;", self._plurals.header)
            lines[i] = line
        strings = [i for i, line in enumerate(lines) if line.startswith('"')]
        if plural and self._target and strings and not given:
            last = strings[-1]
            end = "\r" if lines[last].endswith("\r") else ""
            lines.insert(last + 1, f'"Plural-Forms: {self._plurals.header}\\n"{end}')
        return lines


def _parse(lines: Sequence[str], name: str) -> tuple[polib.POFile, _Reveal]:
    """The file as polib reads it, and what turns its strings into the file's.

    Raises:
        TrimixError: it is no PO file.
    """
    _check_strings(lines, name)
    text = "\n".join(line.removesuffix("\r") for line in lines)
    free = (chr(code) for code in range(0xE000, 0xF8FF) if chr(code) not in text)
    hide = dict(zip(map(ord, _BREAKS), free, strict=False))
    show = {ord(stand_in): chr(code) for code, stand_in in hide.items()}
    try:
        # The line break at the end keeps polib from taking a short text for a file's name.
        catalog = polib.pofile(text.translate(hide) + "\n")
    except (OSError, ValueError, IndexError) as error:
        match = re.search(r"line (\d+)\)?(?::\s*(.*))?", str(error))
        where = f"line {match[1]}: " if match else ""
        what = f" ({match[2]})" if match and match[2] else ""
        raise TrimixError(f"{name}: {where}not gettext PO{what}") from None
    return catalog, lambda text: text.translate(show)


def _check_strings(lines: Sequence[str], name: str) -> None:
    """Every string is closed on its line and follows on a keyword, which polib takes on trust."""
    before = ""
    for number, line in enumerate(lines, 1):
        bare = re.sub(r"^\s*#~\s*", "", line).strip()
        if bare.startswith(("msg", '"')) and not _STRING.fullmatch(bare):
            raise TrimixError(f"{name}: line {number}: not gettext PO (a string must end there)")
        if bare.startswith('"') and not before.startswith(("msg", '"')):
            raise TrimixError(f"{name}: line {number}: not gettext PO (a string without msgid)")
        before = bare


def _revealed(entry: polib.POEntry, reveal: _Reveal) -> polib.POEntry:
    entry.msgid = reveal(entry.msgid)
    entry.msgid_plural = reveal(entry.msgid_plural or "")
    entry.msgstr = reveal(entry.msgstr)
    return entry


def _strings_end(lines: Sequence[str], at: int, begins: tuple[str, ...] = ("msg", '"')) -> int:
    """The first line from `at` on that begins with none of `begins`."""
    while at < len(lines) and lines[at].lstrip().startswith(begins):
        at += 1
    return at


def _comments(lines: Sequence[str], flagged: bool, reasons: Sequence[str]) -> list[str]:
    """The comments of an entry that is translated now: no previous msgid, fuzzy only if flagged."""
    kept = [line for line in lines if not line.startswith(("#|", NOTE))]
    out: list[str] = []
    marked = not flagged
    for line in kept:
        if line.startswith("#,"):
            flags = [flag.strip() for flag in line[2:].split(",")]
            others = [flag for flag in flags if flag and flag != "fuzzy"]
            if not marked or "fuzzy" in flags:
                new = ([] if marked else ["fuzzy"]) + others
                line = f"#, {', '.join(new)}" if new else ""
                marked = True
            if not line:
                continue
        out.append(line)
    if not marked:
        out.append("#, fuzzy")
    if reasons:
        # Translator comments stand first.
        own = [i for i, line in enumerate(out) if re.match(r"#(\s|$)", line)]
        note = one_line(NOTE + "; ".join(reasons))
        out.insert(own[-1] + 1 if own else 0, note)
    return out


def _wrapped(keyword: str, text: str, width: int) -> list[str]:
    r"""The lines of a string: escaped, broken after `\n`, and at words if the file does so."""
    lines = polib.POEntry(msgid="", msgstr=text).__unicode__(width).split("\n")
    at = next(i for i, line in enumerate(lines) if line.startswith("msgstr "))
    # polib ends an entry with an empty line.
    return [keyword + lines[at].removeprefix("msgstr"), *lines[at + 1 : -1]]


def _wrap_width(lines: Sequence[str]) -> int:
    """0 if the file has lines that gettext would have wrapped."""
    for line in lines:
        # polib counts two less for every escape.
        line = line.strip()
        long = len(line) - 2 * line.count("\\") > _WIDTH + 2 and line.startswith(("msg", '"'))
        if long and re.search(r'"[^"]*\S +[^"\s]', line):
            return 0
    return _WIDTH
