"""Languages, the paper's prompt formats, and chat templates."""

from __future__ import annotations

import contextlib
import difflib
import json
import queue
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any, Literal

from .closing import Closing
from .errors import TrimixError, UsageError

Direction = Literal["ltr", "rtl", "ttb"]
Message = Mapping[str, str]

_RTL_SCRIPTS = frozenset({"Arab", "Hebr", "Thaa", "Syrc", "Nkoo", "Adlm"})

# ISO 639-3 code, other accepted codes (ISO 639-1, ISO 639-2/B, macrolanguage), scripts (ISO 15924,
# the usual one first), English name. The names of the paper's languages are those of its prompts.
_TABLE = """
eng en Latn English
uig ug Arab,Latn,Cyrl Uyghur
bod bo,tib Tibt Tibetan
kaz kk Cyrl,Arab Kazakh
mvf - Mong Mongolian
khk - Cyrl Mongolian
mon mn Cyrl,Mong Mongolian
tam ta Taml Tamil
tel te Telu Telugu
ory or,ori Orya Odia
ben bn Beng Bengali
zho zh,chi,cmn Hans,Hant Chinese
asm as Beng Assamese
guj gu Gujr Gujarati
hin hi Deva Hindi
kan kn Knda Kannada
mal ml Mlym Malayalam
mar mr Deva Marathi
mai - Deva Maithili
npi ne,nep Deva Nepali
pan pa Guru,Arab Punjabi
san sa Deva Sanskrit
sat - Olck Santali
sin si Sinh Sinhala
snd sd Arab,Deva Sindhi
urd ur Arab Urdu
div dv Thaa Dhivehi
dzo dz Tibt Dzongkha
mya my,bur Mymr Burmese
khm km Khmr Khmer
lao lo Laoo Lao
tha th Thai Thai
vie vi Latn Vietnamese
ind id Latn Indonesian
zsm ms,msa,may Latn Malay
jav jv Latn Javanese
tgl tl,fil Latn Filipino
jpn ja Jpan Japanese
kor ko Kore Korean
kir ky Cyrl,Arab Kyrgyz
uzn uz,uzb Latn,Cyrl Uzbek
tuk tk Latn Turkmen
tgk tg Cyrl Tajik
tat tt Cyrl Tatar
bak ba Cyrl Bashkir
tyv - Cyrl Tuvan
bua - Cyrl Buryat
sah - Cyrl Yakut
aze az Latn,Arab Azerbaijani
tur tr Latn Turkish
pes fa,fas,per Arab Persian
pbt ps,pus Arab Pashto
ckb ku,kur Arab Kurdish
arb ar,ara Arab Arabic
heb he Hebr Hebrew
hye hy,arm Armn Armenian
kat ka,geo Geor Georgian
amh am Ethi Amharic
tir ti Ethi Tigrinya
swh sw,swa Latn Swahili
hau ha Latn Hausa
ibo ig Latn Igbo
yor yo Latn Yoruba
zul zu Latn Zulu
xho xh Latn Xhosa
som so Latn Somali
rus ru Cyrl Russian
ukr uk Cyrl Ukrainian
deu de,ger Latn German
fra fr,fre Latn French
spa es Latn Spanish
por pt Latn Portuguese
ita it Latn Italian
"""


@dataclass(frozen=True)
class Language:
    """A language.

    Attributes:
        code: ISO 639-3.
        aliases: other codes for it: ISO 639-1 first where it has one, 639-2/B, macrolanguage.
        name: in English, as the paper's prompts name it.
        scripts: ISO 15924, the usual one first.
    """

    code: str
    aliases: tuple[str, ...]
    name: str
    scripts: tuple[str, ...]

    @property
    def direction(self) -> Direction:
        """Of its usual script: "ltr", "rtl", or "ttb" for columns (Mongolian, left to right)."""
        if self.scripts[0] == "Mong":
            return "ttb"
        return "rtl" if self.scripts[0] in _RTL_SCRIPTS else "ltr"


@cache
def languages() -> Mapping[str, Language]:
    """Every known language, by each of its codes."""
    table: dict[str, Language] = {}
    for line in _TABLE.strip().splitlines():
        code, others, scripts, name = line.split(maxsplit=3)
        aliases = () if others == "-" else tuple(others.split(","))
        entry = Language(code, aliases, name, tuple(scripts.split(",")))
        table.update(dict.fromkeys((code, *aliases), entry))
    return table


def language(code: str) -> Language:
    """The language with this ISO 639-3 or 639-1 code; case does not matter.

    Raises:
        UsageError: no language here has this code; the line names close or known ones.
    """
    known = languages()
    wanted = code.strip().lower()
    if wanted in known:
        return known[wanted]
    names = {entry.name.lower(): entry for entry in known.values()}
    close = [names[wanted]] if wanted in names else []
    close += [known[match] for match in difflib.get_close_matches(wanted, known, n=3)]
    shown = ", ".join(f"{entry.code} ({entry.name})" for entry in dict.fromkeys(close))
    codes = ", ".join(list(dict.fromkeys(entry.code for entry in known.values()))[:11])
    hint = f"did you mean {shown}?" if shown else f"known are ISO 639 codes such as {codes}"
    raise UsageError(f"unknown language {code!r}; {hint}")


def translation_prompt(
    text: str, source: Language, target: Language, shots: Sequence[tuple[str, str]] = ()
) -> str:
    """The paper's translation prompt (its appendix on prompts; 200 tokens, greedy, 5 exemplars).

    `shots` are (source text, translation); each stands in the same format, with a blank line
    after it. The prompt ends where the translation begins, which ends at a newline.
    """
    asked = [_translation(shot, source, target) + answer for shot, answer in shots]
    return "\n\n".join([*asked, _translation(text, source, target)])


def _translation(text: str, source: Language, target: Language) -> str:
    return (
        f"Please translate the following {source.name} text into {target.name}.\n"
        f"{source.name}: {text}\n{target.name}: "
    )


# For models without a chat template: every message is a paragraph, and so is the reply.
PLAIN_TEMPLATE = "{% for message in messages %}{{ message.content }}\n\n{% endfor %}"
PLAIN_STOP = "\n\n"

# Bounds of a template. The longest of the well-known ones has 20 thousand characters and renders
# in milliseconds.
MAX_SOURCE = 256 * 1024
MAX_CHARS = 4_000_000
MAX_SECONDS = 3.0
MAX_MEMORY = 512 * 1024 * 1024
_START_SECONDS = 60.0
_POLL_SECONDS = 0.02


class ChatTemplate(Closing):
    """A chat template: a Jinja program out of a model file, so untrusted.

    It is rendered in Jinja's sandbox in a process of its own (`template_worker`), which is stopped
    when it takes more than `MAX_SECONDS`, `MAX_MEMORY`, or `MAX_CHARS` of text. A process,
    because a single operation (`'a' * 10**10`, the text of a deeply shared list) cannot be
    interrupted from within on every system. It starts when the template is made and lives until
    `close`; a context manager.

    Args:
        source: the Jinja source.
        bos, eos: what `bos_token` and `eos_token` mean in it.

    Raises:
        TrimixError: the source has more than `MAX_SOURCE` characters.
    """

    def __init__(self, source: str, bos: str = "", eos: str = "") -> None:
        if len(source) > MAX_SOURCE:
            raise TrimixError(
                f"the chat template has {len(source):,} characters, at most {MAX_SOURCE:,} are read"
            )
        self.source, self.bos, self.eos = source, bos, eos
        self._worker: _Worker | None = _Worker()
        self._compiled = False

    def render(self, messages: Sequence[Message], add_generation_prompt: bool = True) -> str:
        """The text of `messages` (each with role and content), as the model is to see it.

        Raises:
            TrimixError: the template is broken, refuses the messages, or passes a bound.
        """
        if self._worker is None:
            self._worker, self._compiled = _Worker(), False
        try:
            if not self._compiled:
                self._worker.wait_ready()
                self._worker.ask(self._settings())
                self._compiled = True
            request = {
                "messages": [dict(message) for message in messages],
                "add_generation_prompt": add_generation_prompt,
            }
            return self._worker.ask(request)
        except BaseException:
            # Also after Ctrl-C: an answer that comes late must not be taken for the next one.
            self.close()
            raise

    def _settings(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "bos": self.bos,
            "eos": self.eos,
            "seconds": MAX_SECONDS,
            "memory": 2 * MAX_MEMORY,  # address space, of which not all is in memory
            "max_chars": MAX_CHARS,
        }

    def close(self) -> None:
        """Stop the process; harmless when done twice. A later `render` starts another."""
        if self._worker is not None:
            self._worker.stop()
            self._worker = None


class _Worker:
    """The process that renders, and the watch over its time and memory."""

    def __init__(self) -> None:
        windows = sys.platform == "win32"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "trimix_cpp.template_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # Where the package lies, so that a checkout that is not installed works too.
            cwd=Path(__file__).resolve().parent.parent,
            # A group of its own: Ctrl-C in the terminal is not for it.
            start_new_session=not windows,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0)
            | getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        assert self._process.stdout is not None
        threading.Thread(
            target=_read_lines, args=(self._process.stdout, self._lines), daemon=True
        ).start()
        self.stop = weakref.finalize(self, _stop, self._process)

    def wait_ready(self) -> None:
        """Wait until it has started; its imports do not count as the template's time."""
        self._receive(_START_SECONDS)

    def ask(self, request: Mapping[str, Any]) -> str:
        """Send one request and wait for its text."""
        assert self._process.stdin is not None
        # A worker that has died is noticed when nothing comes back.
        with contextlib.suppress(OSError):
            self._process.stdin.write(json.dumps(request).encode("ascii") + b"\n")
            self._process.stdin.flush()
        answer = self._receive(MAX_SECONDS)
        if "error" in answer:
            raise TrimixError(f"the model's chat template fails: {answer['error']}")
        return str(answer["text"])

    def _receive(self, seconds: float) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while True:
            try:
                line = self._lines.get(timeout=_POLL_SECONDS)
                break
            except queue.Empty:
                self._check(deadline, seconds)
        if not line:
            raise TrimixError("the model's chat template fails: the process that renders it ended")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _check(self, deadline: float, seconds: float) -> None:
        import psutil

        if time.monotonic() > deadline:
            raise TrimixError(f"the model's chat template takes more than {seconds:g} seconds")
        with contextlib.suppress(psutil.Error):
            if psutil.Process(self._process.pid).memory_info().rss > MAX_MEMORY:
                raise TrimixError(
                    f"the model's chat template takes more than {MAX_MEMORY >> 20} MiB of memory"
                )


def _read_lines(pipe: IO[bytes], lines: queue.SimpleQueue[bytes]) -> None:
    """Pass on what the worker says; an empty line stands for its end."""
    with contextlib.suppress(OSError, ValueError):
        for line in pipe:
            lines.put(line)
    lines.put(b"")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        # Closing flushes what a dead worker never read.
        with contextlib.suppress(OSError):
            if pipe is not None:
                pipe.close()
