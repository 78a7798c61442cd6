"""`trimix-cpp chat`: a conversation in the terminal, or over a pipe."""

from __future__ import annotations

import difflib
import os
import re
import signal
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, TextIO

import click

from .. import __version__
from ..errors import TrimixError
from ..runtime import DecodingFlags, parse_weighting
from ..showing import count, json_text, notice, safe
from .options import decoding_options

if TYPE_CHECKING:
    from types import FrameType

    from prompt_toolkit.history import History

    from ..chat import Conversation, Stats

# Reads one line after showing a prompt; EOFError at the end.
ReadLine = Callable[[str], str]

PROMPT, MORE = "> ", ". "
QUOTES = '"""'
HELP = f"""\
/help            this list
/exit            leave (so do /quit, /bye and Ctrl-D)
/clear           forget the conversation; the system message stays
/regen           another reply in place of the last one
/system [TEXT]   set the system message; without TEXT, remove it
/weights [A,B]   use alpha A and beta B from now on, or ppl, ppl-opt, ppl-answers, ent, preset;
                 without anything, show them
/save FILE       write the conversation to FILE (JSON)
/load FILE       go on with the conversation in FILE
/stats           tokens, speed, context, weights
A message goes on in the next line after a \\ at the end of the line, and between {QUOTES} and
{QUOTES}, where a line may also begin with /; so may one that begins with a path such as
/usr/share. Ctrl-C stops a reply and keeps the conversation."""

# Bytes of a piped line: no context holds so many.
_LONGEST_LINE = 1 << 24
# A first word with another / in it is a path, and begins a message.
_COMMAND = re.compile(r"\s*(/[^\s/]*)(?:\s+(.*))?", re.DOTALL)


@click.command("chat", short_help="Talk to a trio.")
@click.option("--system", metavar="TEXT", help="System message.")
@click.option("--think", is_flag=True, help="Let a model that can think before it answers do so.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document a line for each reply.")
@decoding_options(control="large", draft="auto", over_bytes=True)
def command(system: str | None, think: bool, as_json: bool, decoding: DecodingFlags) -> None:
    """Talk to a trio; /help lists what can be typed besides messages.

    Without a terminal every line of standard input is a message, and the replies go to standard
    output, each ending with a newline; the exit code is that of the first error. With --json:
    text, thought (with --think), tokens, weights {alpha, beta}, stop (end, stop, length, context
    or cancelled), prompt_tokens, seed, dropped (turns that no longer fit the context), timings; a
    line that is refused is answered by error alone.
    """
    from ..api import TriMix

    terminal = sys.stdin.isatty()
    with (
        TriMix(decoding, may_score=True) as trio,
        trio.conversation(trio.settings, system, think=think) as conversation,
    ):
        settings = trio.settings
        if terminal:
            weighting = settings.weighting
            how = decoding.weights.weights if weighting.chooser else weighting.weights
            _show(f"TriMix-cpp {__version__}, trio {settings.spec.name}, weights {how}")
            _show("/help lists the commands, Ctrl-D leaves")
        line = terminal_lines() if terminal else piped_lines(sys.stdin.buffer)
        repl = Repl(conversation, line, sys.stdout, terminal=terminal, as_json=as_json)
        code = repl.run()
    click.get_current_context().exit(code)


class Repl:
    """Reads messages and commands, and shows replies.

    Args:
        line: reads one line.
        out: for replies; everything else goes to stderr.
        terminal: a person is typing: errors do not count, and one Ctrl-C at the prompt is forgiven.
        as_json: a reply is shown as one line of JSON.
    """

    def __init__(
        self,
        conversation: Conversation,
        line: ReadLine,
        out: TextIO,
        *,
        terminal: bool = False,
        as_json: bool = False,
    ) -> None:
        self.conversation, self.out = conversation, out
        self.terminal, self.as_json = terminal, as_json
        if terminal and not as_json:
            conversation.on_thought = _show_thought
        self._line = line
        self._code = 0
        self._leaving = False
        self._commands: dict[str, Callable[[str], None]] = {
            "/help": lambda _: _show(HELP),
            **dict.fromkeys(("/exit", "/quit", "/bye"), self._exit),
            "/clear": self._clear,
            "/regen": self._regenerate,
            "/system": self._system,
            "/weights": self._weights,
            "/save": self._save,
            "/load": self._load,
            "/stats": lambda _: _show(_stats_text(self.conversation.stats())),
        }

    def run(self) -> int:
        """Serve until the input ends or /exit; returns the exit code.

        Raises:
            KeyboardInterrupt: Ctrl-C twice in a row.
        """
        warned = False
        while not self._leaving:
            try:
                text, literal = read_turn(self._line)
            except EOFError:
                break
            except KeyboardInterrupt:
                if warned or not self.terminal:
                    raise
                warned = True
                _show("Ctrl-C again leaves, so do Ctrl-D and /exit")
                continue
            except TrimixError as error:
                self._refuse(error)
                continue
            warned = False
            if text.strip():
                self._take(text, literal)
        return self._code

    def _take(self, text: str, literal: bool) -> None:
        """One message or command; an error is told, and the conversation goes on."""
        try:
            if (command := _COMMAND.fullmatch(text)) and not literal:
                self._command(command[1], (command[2] or "").strip())
            else:
                self._reply(lambda: self.conversation.send(text))
        except TrimixError as error:
            self._refuse(error)

    def _refuse(self, error: TrimixError) -> None:
        """Tell what is wrong with a line; over a pipe it counts, and JSON has an answer to each."""
        notice(str(error))
        if not self.terminal:
            self._code = self._code or error.exit_code
        if self.as_json:
            self.out.write(json_text({"error": str(error)}, indent=None) + "\n")
            self.out.flush()

    def _command(self, name: str, argument: str) -> None:
        if name not in self._commands:
            close = difflib.get_close_matches(name, self._commands, n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            raise TrimixError(
                f"{name} is no command; {hint}/help lists them; a message that begins with / goes "
                f"between {QUOTES}"
            )
        self._commands[name](argument)

    def _reply(self, start: Callable[[], Generator[str, None, None]]) -> None:
        """Show a reply as it comes; Ctrl-C stops it, a second one leaves."""
        dropped, written = self.conversation.dropped, False
        with self._stoppable(), closing(start()) as pieces:
            if self.conversation.dropped > dropped:
                gone = self.conversation.dropped
                turns = "oldest turn" if gone == 1 else f"{gone} oldest turns"
                notice(f"the context is full: the models no longer see the {turns}")
            try:
                for piece in pieces:
                    if not self.as_json:
                        written = True
                        self.out.write(piece)
                        self.out.flush()
            except (TrimixError, KeyboardInterrupt):
                if written:
                    self.out.write("\n")
                raise
        self.out.write((self._json() if self.as_json else "") + "\n")
        self.out.flush()
        self._tell_stop()

    def _tell_stop(self) -> None:
        stop = self.conversation.stop
        if stop == "context":
            notice("the context is full: the reply ends here; a larger -c makes room")
        elif stop == "cancelled" and not self.as_json:
            notice("stopped; what came of the reply stays in the conversation")
        elif stop == "length" and self.terminal:
            notice("the reply ends at the limit of -n")

    def _json(self) -> str:
        stats, conversation = self.conversation.stats(), self.conversation
        document = {
            "text": conversation.turns[-1].reply,
            **({"thought": conversation.turns[-1].thought} if conversation.think else {}),
            "tokens": stats.reply_tokens,
            "weights": stats.weights.as_json(),
            "stop": conversation.stop,
            "prompt_tokens": stats.new_tokens + stats.cached_tokens,
            "seed": stats.seed,
            "dropped": stats.dropped,
            "timings": {
                "reply_seconds": round(stats.reply_seconds, 6),
                "tokens_per_second": round(stats.speed, 3),
            },
        }
        return json_text(document, indent=None)

    @contextmanager
    def _stoppable(self) -> Iterator[None]:
        presses = 0

        def pressed(_signal: int, _frame: FrameType | None) -> None:
            nonlocal presses
            presses += 1
            if presses > 1:
                raise KeyboardInterrupt
            self.conversation.cancel()

        before = signal.signal(signal.SIGINT, pressed)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _exit(self, _argument: str) -> None:
        self._leaving = True

    def _clear(self, _argument: str) -> None:
        self.conversation.clear()
        self._confirm("the conversation is empty")

    def _regenerate(self, _argument: str) -> None:
        self._reply(self.conversation.regenerate)
        if self.conversation.sampler.temperature == 0:
            self._confirm("at --temp 0 a reply can only be the same; --temp 0.7 varies it")

    def _system(self, text: str) -> None:
        self.conversation.set_system(text or None)
        self._confirm("the system message is set" if text else "there is no system message now")

    def _weights(self, text: str) -> None:
        if not text:
            _show(str(self.conversation.weights))
            return
        chosen = parse_weighting(text, self.conversation.trio.spec)
        self.conversation.set_weights(chosen.weights, chosen.chooser)
        self._confirm(f"from now on {text if chosen.chooser else chosen.weights}")

    def _save(self, name: str) -> None:
        path = _path(name, "/save")
        self.conversation.save(path)
        self._confirm(f"saved in {path}")

    def _load(self, name: str) -> None:
        saved = self.conversation.load(_path(name, "/load"))
        self._confirm(f"{len(saved.turns)} turns, {saved.weights}")
        if saved.trio != self.conversation.trio.spec.name:
            notice(f"the conversation was held with the trio {saved.trio}")

    def _confirm(self, text: str) -> None:
        if self.terminal:
            _show(text)


def read_turn(line: ReadLine) -> tuple[str, bool]:
    """One message or command, over as many lines as it takes, and whether it was quoted.

    A backslash at the end of a line and open quotes take in the next line; the end of the input
    ends them.

    Raises:
        EOFError: the input ended before.
    """
    text = line(PROMPT)
    if text.lstrip().startswith(QUOTES):
        return _quoted(text.lstrip()[len(QUOTES) :], line), True
    while text.endswith("\\"):
        try:
            text = text[:-1] + "\n" + line(MORE)
        except EOFError:
            return text[:-1], False
    return text, False


def _quoted(text: str, line: ReadLine) -> str:
    """What stands up to the closing quotes, without the line breaks next to the quotes."""
    while not text.rstrip().endswith(QUOTES):
        try:
            text += "\n" + line(MORE)
        except EOFError:
            return text.removeprefix("\n")
    return text.rstrip().removesuffix(QUOTES).removeprefix("\n").removesuffix("\n")


def piped_lines(stream: IO[bytes]) -> ReadLine:
    """Lines of a UTF-8 stream, whatever the locale; prompts are not shown.

    A line that never ends, as a device's, ends the input with an error.
    """
    number, ended = 0, False

    def read(_prompt: str) -> str:
        nonlocal number, ended
        data = b"" if ended else stream.readline(_LONGEST_LINE + 1)
        if not data:
            raise EOFError
        number += 1
        if ended := len(data) > _LONGEST_LINE:
            raise TrimixError(f"standard input: line {number} has more than 16 MiB: it ends here")
        try:
            text = data.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise TrimixError(f"standard input: line {number} is not UTF-8") from None
        return text.removesuffix("\n").removesuffix("\r")

    return read


def terminal_lines() -> ReadLine:
    """Lines that a person types, with editing and a history."""
    from prompt_toolkit import PromptSession
    from prompt_toolkit.output import create_output

    # With stdout in a file, prompts go to stderr: stdout is for replies.
    output = create_output(always_prefer_tty=True)
    session: PromptSession[str] = PromptSession(
        history=_history(), output=output, reserve_space_for_menu=0
    )
    return session.prompt


def _history() -> History:
    """What was typed, in a file that only its owner may read; in memory where that fails."""
    import platformdirs
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    folder = platformdirs.user_state_path("trimix-cpp", appauthor=False)
    path = folder / "chat-history"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        path.chmod(0o600)
    except OSError:
        return InMemoryHistory()
    return FileHistory(str(path))


def _path(name: str, after: str) -> Path:
    """The file that somebody names, in quotation marks or not."""
    if name[:1] in ('"', "'"):
        if len(name) < 2 or name[-1] != name[0]:
            raise TrimixError(f"{after}: the name's quotation mark {name[0]} is not closed")
        name = name[1:-1]
    if not name:
        raise TrimixError(f"{after} needs the name of a file")
    if "\0" in name:
        raise TrimixError(f"{after}: {name!r} is no name of a file")
    try:
        return Path(name).expanduser()
    except RuntimeError:
        raise TrimixError(f"{after}: {name}: there is no such user") from None


def _show(text: str) -> None:
    print(safe(text), file=sys.stderr, flush=True)


def _show_thought(text: str) -> None:
    """What a model thinks, apart from what it says: on stderr, in grey."""
    click.secho(safe(text), fg="bright_black", nl=False, err=True)


def _stats_text(stats: Stats) -> str:
    seen = stats.turns - stats.dropped
    turns = f"{stats.turns}" if not stats.dropped else f"{stats.turns}, the models see {seen}"
    return "\n".join(
        [
            f"trio     {stats.trio} ({', '.join(stats.roles)})",
            f"weights  {stats.weights}",
            f"turns    {turns}",
            f"context  {stats.context} of {stats.n_ctx} tokens",
            f"prompt   {count(stats.new_tokens, 'token')} new, {stats.cached_tokens} kept",
            f"reply    {count(stats.reply_tokens, 'token')} in {stats.reply_seconds:.2f} s",
            f"speed    prompts {stats.prompt_speed:.1f}, replies {stats.speed:.1f} tokens/s",
            f"seed     {stats.seed}",
        ]
    )
