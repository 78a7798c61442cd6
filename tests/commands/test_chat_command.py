"""`trimix-cpp chat` as it is used: over pipes, and in a terminal."""

from __future__ import annotations

import contextlib
import io
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import gguf
import pytest

from trimix_cpp.chat.conversation import Conversation
from trimix_cpp.commands.chat import Repl, piped_lines, read_turn
from trimix_cpp.decoding import Decoder
from trimix_cpp.decoding.trio import Options, Trio
from trimix_cpp.errors import TrimixError
from trimix_cpp.fusion.weights import Weights
from trimix_cpp.store.spec import RoleSpec, TrioSpec

from ..support.tiny import write_tiny_model

ROLES = ("large", "cpt", "base")
UYGHUR, TIBETAN = "ياخشىمۇسىز؟", "བཀྲ་ཤིས་བདེ་ལེགས།"
TRIMIX = [sys.executable, "-m", "trimix_cpp"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The options that name three tiny models."""
    folder = tmp_path_factory.mktemp("models")
    options = ["--weights", "0.3,0.9", "-t", "1"]
    for seed, role in enumerate(ROLES):
        path = write_tiny_model(folder / f"{role}.gguf", seed=seed, n_ctx=32768)
        never_ends(path)
        options += [f"--{role}", str(path)]
    return options


def never_ends(path: Path) -> None:
    """Make the control tokens' logits zero, so that a greedy reply goes on until it is stopped."""
    reader = gguf.GGUFReader(path, "r+")
    embeddings = next(t for t in reader.tensors if t.name == "token_embd.weight")
    embeddings.data[-3:] = 0
    reader.data.flush()


def chat(
    models: list[str], data: str | bytes, *options: str, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*TRIMIX, "chat", *models, *options],
        input=data.encode() if isinstance(data, str) else data,
        capture_output=True,
        timeout=120,
        env={**os.environ, **environment},
    )


def replies(run: subprocess.CompletedProcess[bytes]) -> list[dict[str, object]]:
    return [json.loads(line) for line in run.stdout.splitlines()]


def lines_of(*lines: str) -> Callable[[str], str]:
    waiting = iter(lines)

    def line(_prompt: str) -> str:
        for text in waiting:
            return text
        raise EOFError

    return line


@pytest.mark.parametrize(
    ("lines", "text", "literal"),
    [
        (["hello"], "hello", False),
        (["one\\", "two\\", "three", "four"], "one\ntwo\nthree", False),
        (["cut off\\"], "cut off", False),
        (['"""', UYGHUR, TIBETAN, '"""', "x"], f"{UYGHUR}\n{TIBETAN}", True),
        (['"""one', 'two"""'], "one\ntwo", True),
        (['  """one line""" '], "one line", True),
        (['"""', "", "a", "", '"""'], "\na\n", True),
        (['"""', "no end"], "no end", True),
        (['"""', "/exit", '"""'], "/exit", True),
        ([""], "", False),
    ],
)
def test_read_turn(lines: list[str], text: str, literal: bool) -> None:
    assert read_turn(lines_of(*lines)) == (text, literal)


def test_piped_lines(tmp_path: Path) -> None:
    path = tmp_path / "input"
    path.write_bytes(b"\xef\xbb\xbfone\r\n\xe0\xbd\x96\n\xff\n")
    with path.open("rb") as stream:
        line = piped_lines(stream)
        assert [line(""), line("")] == ["one", "བ"]
        with pytest.raises(TrimixError, match="line 3 is not UTF-8"):
            line("")
        with pytest.raises(EOFError):
            line("")


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="has no end")
def test_a_line_without_an_end_ends_the_input() -> None:
    with open("/dev/zero", "rb") as stream:
        line = piped_lines(stream)
        with pytest.raises(TrimixError, match="line 1 has more than 16 MiB"):
            line("")
        with pytest.raises(EOFError):
            line("")


def test_each_line_of_a_pipe_is_a_turn(models: list[str]) -> None:
    run = chat(models, f"{UYGHUR}\n\n{TIBETAN}\\\nmore\n", "-n", "5", "--json", "-s", "0")
    assert (run.returncode, run.stderr) == (0, b"")
    first, second = replies(run)
    assert first["tokens"] == second["tokens"] == 5
    assert first["weights"] == {"alpha": 0.3, "beta": 0.9}
    assert (first["stop"], first["seed"], first["dropped"]) == ("length", 0, 0)
    text = chat(models, f"{UYGHUR}\n", "-n", "5").stdout.decode()
    assert text == f"{first['text']}\n"


def test_the_locale_does_not_matter(models: list[str]) -> None:
    run = chat(models, UYGHUR, "-n", "5", LC_ALL="C", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert (run.returncode, run.stderr) == (0, b"")
    assert run.stdout.decode("utf-8") == chat(models, UYGHUR, "-n", "5").stdout.decode("utf-8")


def test_no_input_is_no_error(models: list[str]) -> None:
    run = chat(models, "")
    assert (run.returncode, run.stdout, run.stderr) == (0, b"", b"")


def test_input_that_is_not_utf8(models: list[str]) -> None:
    run = chat(models, b"one\n\xff\xfe\nthree\n", "-n", "2", "--json")
    assert run.returncode == 1
    one, refused, three = replies(run)
    assert (one["tokens"], three["tokens"]) == (2, 2)
    assert refused == {"error": "standard input: line 2 is not UTF-8"}
    assert run.stderr == b"trimix-cpp: standard input: line 2 is not UTF-8\n"


def test_a_command_begins_with_a_slash_and_a_path_does_not(models: list[str]) -> None:
    paths = ["/usr/share/doc is full", "//", "/home/ئالىم", '"""/exit"""']
    script = [*paths, "/exti", "/", "/exit.", "  /stats", UYGHUR, " /quit ", "never read"]
    run = chat(models, "\n".join(script), "-n", "2", "--json")
    answers = replies(run)
    assert [answer.get("tokens") for answer in answers] == [2, 2, 2, 2, None, None, None, 2]
    hints = [str(answer["error"]) for answer in answers if "error" in answer]
    assert [hint.split(" ")[0] for hint in hints] == ["/exti", "/", "/exit."]
    assert "did you mean /exit?" in hints[0]
    assert 'between """' in hints[1]
    assert run.returncode == 1
    for way in ("/bye", "/quit", "/exit"):
        assert chat(models, f"{way}\n{UYGHUR}", "--json").stdout == b""


def test_names_of_saved_chats(models: list[str], tmp_path: Path) -> None:
    kept = tmp_path / "s19 سۆھبەت\u200c 1.json"
    missing = tmp_path / "none" / "x.json"
    foreign = tmp_path / "foreign.json"
    foreign.write_text("{}", encoding="utf-8")
    script = [
        UYGHUR, f'/save "{kept}"', "/clear", f"/load '{kept}'", f"/save {missing}",
        f'/save "{kept}', "/save ", '/save ""', "/save a\0b", "/load ~nobody-here/x",
        f"/save {foreign}", TIBETAN,
    ]  # fmt: skip
    run = chat(models, "\n".join(script), "-n", "2", "--json")
    answers = replies(run)
    assert [("error" in answer) for answer in answers] == [False, *[True] * 7, False]
    assert run.returncode == 1
    assert b"Traceback" not in run.stderr
    assert foreign.read_text(encoding="utf-8") == "{}"
    assert json.loads(kept.read_text(encoding="utf-8"))["messages"][0]["content"] == UYGHUR
    # As an editor leaves it: a byte order mark, other line ends.
    text = kept.read_text(encoding="utf-8").replace("\n", "\r\n")
    kept.write_bytes(b"\xef\xbb\xbf" + text.encode())
    run = chat(models, f"/load {kept}\n/regen\n", "-n", "2", "--json")
    assert (run.returncode, len(replies(run))) == (0, 1)
    kept.write_bytes(text.replace('"version"', ',"version"', 1).encode())
    run = chat(models, f"/load {kept}", "--json")
    assert "line 3 is not JSON" in str(replies(run)[0]["error"])


def test_commands_over_a_pipe(models: list[str], tmp_path: Path) -> None:
    saved = tmp_path / "chat.json"
    script = [
        UYGHUR, "/weights 0.5,0.5", "/regen", "/system بەك قىسقا", f"/save {saved}", "/clear",
        f"/load {saved}", TIBETAN, "/weights", "/stats", "/help", "/exit", "never read",
    ]  # fmt: skip
    run = chat(models, "\n".join(script), "-n", "3", "--json")
    assert run.returncode == 0
    first, again, last = replies(run)
    assert again["weights"] == last["weights"] == {"alpha": 0.5, "beta": 0.5}
    assert first["weights"] == {"alpha": 0.3, "beta": 0.9}
    messages = json.loads(saved.read_text("utf-8"))["messages"]
    assert [m["content"] for m in messages[:2]] == ["بەك قىسقا", UYGHUR]
    notices = run.stderr.decode("utf-8")
    assert "alpha 0.5, beta 0.5\n" in notices
    assert "context  " in notices
    assert "/regen " in notices


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("/nonsense", "/nonsense is no command; /help"),
        ("/weights a,b", "weights are two numbers"),
        ("/weights nan,1", "weights are two numbers"),
        ("/load /no/such/file", "cannot be read"),
        ("/save", "needs the name"),
        ("/regen", "no reply"),
        ("x" * 5000, "too long"),
    ],
)
def test_an_error_over_a_pipe_is_one_line_and_the_rest_is_read(
    models: list[str], line: str, why: str
) -> None:
    run = chat(models, f"{line}\nhello\n", "-n", "2", "-c", "1024", "--json")
    assert run.returncode == 1
    assert why in run.stderr.decode()
    assert run.stderr.count(b"\n") == 1
    refused, reply = replies(run)
    assert why in str(refused["error"])
    assert reply["tokens"] == 2


def test_dropped_turns_are_told(models: list[str]) -> None:
    run = chat(models, f"{UYGHUR}\n" * 12, "-n", "5", "-c", "256", "--json")
    assert run.returncode == 0
    assert "no longer see" in run.stderr.decode()
    assert replies(run)[-1]["dropped"]


def test_a_closed_pipe_is_quiet(models: list[str]) -> None:
    process = subprocess.Popen(
        [*TRIMIX, "chat", *models, "-n", "20"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    with contextlib.suppress(OSError):
        process.stdin.write(f"{UYGHUR}\n".encode() * 50)
        process.stdin.close()
    with process.stderr:
        assert process.stderr.read() == b""
    process.wait(60)


class Presser(io.StringIO):
    """Output that presses Ctrl-C some times when the first text of a reply comes."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def write(self, text: str) -> int:
        count, self.times = self.times, 0
        for _ in range(count):
            signal.raise_signal(signal.SIGINT)
        return super().write(text)


def test_ctrl_c_stops_a_reply_and_a_second_one_leaves(models: list[str]) -> None:
    files = {role: RoleSpec(Path(models[models.index(f"--{role}") + 1])) for role in ROLES}
    weights, before = Weights(0.3, 0.9), signal.getsignal(signal.SIGINT)
    options = Options(n_ctx=2048, n_threads=1)
    with (
        Trio(TrioSpec("tiny", files), weights.roles, options) as trio,
        Conversation(Decoder(trio), weights=weights) as conversation,
    ):
        out = Presser(1)
        assert Repl(conversation, lines_of(UYGHUR, "/exit"), out).run() == 0
        assert conversation.stop == "cancelled"
        assert 0 < len(conversation.turns[0].reply) < 100
        assert out.getvalue() == conversation.turns[0].reply + "\n"

        with pytest.raises(KeyboardInterrupt):
            Repl(conversation, lines_of(TIBETAN), Presser(2)).run()
        assert conversation.stop == "cancelled"
        assert [turn.user for turn in conversation.turns] == [UYGHUR, TIBETAN]
        assert len({c.last_position(0) for c in trio._contexts.values()}) == 1
        assert signal.getsignal(signal.SIGINT) == before


def test_wrong_usage(models: list[str]) -> None:
    assert chat([], "").returncode == 2
    assert chat(models, "", "--lang", "xyzzy").returncode == 2
    assert chat(models, "", "--temp", "-1").returncode == 2


# A terminal of its own for the child, so that Ctrl-C reaches it as from a keyboard.
CHILD = (
    "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "from trimix_cpp.commands import run; run()"
)
# What prompt_toolkit sends when it begins and ends to read a line ("bracketed paste" on and off).
ASKS, TAKEN = "\x1b[?2004h", "\x1b[?2004l"


class Terminal:
    """A chat in a pseudo-terminal, typed into and read as a person does."""

    def __init__(self, options: list[str], home: Path) -> None:
        import pty

        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD, "chat", *options],
            stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            env={**os.environ, "TERM": "xterm", "XDG_STATE_HOME": str(home), "HOME": str(home)},
        )  # fmt: skip
        os.close(slave)
        self.seen = b""
        self._at = 0

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def expect(self, text: str, seconds: float = 30) -> None:
        """Read until `text` comes after what was expected before."""
        deadline = time.monotonic() + seconds
        while (found := self.seen.find(text.encode(), self._at)) < 0:
            assert time.monotonic() < deadline, f"{text!r} does not come: {self.seen[-2000:]!r}"
            self._read()
        self._at = found + len(text.encode())

    def leave(self, seconds: float = 30) -> int:
        """The exit code, once it ends."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"it stays: {self.seen[-2000:]!r}"
            self._read()
        return self.process.returncode

    def _read(self) -> None:
        if select.select([self._master], [], [], 0.1)[0]:
            with contextlib.suppress(OSError):  # how Linux tells that the other side is closed
                data = os.read(self._master, 65536)
                self.seen += data
                if b"\x1b[6n" in data:  # "where is the cursor?"
                    self.type("\x1b[1;1R")

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        os.close(self._master)


@pytest.fixture
def terminal(models: list[str], tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def start(*options: str) -> Terminal:
        opened.append(Terminal([*models, *options], tmp_path))
        opened[-1].expect("Ctrl-D leaves")
        opened[-1].expect(ASKS)
        return opened[-1]

    yield start
    for one in opened:
        one.close()


needs_pty = pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals of this kind")


@needs_pty
def test_ctrl_d_leaves(terminal: Callable[..., Terminal]) -> None:
    here = terminal()
    here.type("\x04")
    assert here.leave() == 0


@needs_pty
def test_ctrl_c_at_the_prompt_hints_and_then_leaves(terminal: Callable[..., Terminal]) -> None:
    here = terminal()
    here.type("half a line\x03")
    here.expect("Ctrl-C again")
    here.expect(ASKS)
    here.type("/stats\r")
    here.expect("turns    0")
    here.expect(ASKS)
    here.type("\x03")
    here.expect("Ctrl-C again")
    here.expect(ASKS)
    here.type("\x03")
    assert here.leave() == 130


@needs_pty
def test_ctrl_c_stops_a_reply_and_keeps_the_conversation(
    terminal: Callable[..., Terminal], tmp_path: Path
) -> None:
    here = terminal("-c", "32768")
    here.type(f"{UYGHUR}\r")
    here.expect(TAKEN)
    time.sleep(1)
    here.type("\x03")
    here.expect("stopped;")
    here.expect(ASKS)
    here.type("/stats\r")
    here.expect("turns    1")
    here.expect(ASKS)
    here.type(f"/save {tmp_path}/kept.json\r")
    here.expect("saved in")
    here.expect(ASKS)
    messages = json.loads((tmp_path / "kept.json").read_text("utf-8"))["messages"]
    assert messages[0]["content"] == UYGHUR
    assert messages[1]["content"]
    here.type("/exit\r")
    assert here.leave() == 0


@needs_pty
def test_several_lines_and_the_history(terminal: Callable[..., Terminal], tmp_path: Path) -> None:
    here = terminal("-n", "2")
    here.type("one\\\r")
    here.expect(ASKS)
    here.type("two\r")
    here.expect("limit of -n")
    here.expect(ASKS)
    here.type('"""\r')
    here.expect(ASKS)
    here.type("/three\r")
    here.expect(ASKS)
    here.type('"""\r')
    here.expect("limit of -n")
    here.expect(ASKS)
    here.type(f"/save {tmp_path}/lines.json\r")
    here.expect("saved in")
    here.expect(ASKS)
    here.type("\x04")
    assert here.leave() == 0
    messages = json.loads((tmp_path / "lines.json").read_text("utf-8"))["messages"]
    assert [m["content"] for m in messages[::2]] == ["one\ntwo", "/three"]
    if sys.platform == "linux":
        history = tmp_path / "trimix-cpp" / "chat-history"
        assert history.stat().st_mode & 0o077 == 0
        assert "+/three" in history.read_text("utf-8")
