"""Every command, over its options: whatever is said, an error is a line and a documented code.

The options are read off the commands, so that a new one is tried as soon as it is there.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import click
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trimix_cpp.commands import group, main, raise_where_possible

from ..support.examples import examples
from ..support.tiny import write_tiny_model

CODES = {0, 1, 2, 3, 130}
# A command that has not ended by then gets a Ctrl-C, which is one more thing to be right.
SECONDS = 0.5
# Lines of stderr beside an error: that the bundled demo answers, of a script, of a busy machine.
MOST_LINES = 4

NUMBERS = [
    "0", "1", "-1", "2", "16", "100000", "-999999999999", "9" * 30, "9" * 400, "9" * 5000,
    "1e3", "٣", "", " 5 ", "0x10", "1_0", "nan", "inf", "-inf", "1e400", "0.5", "1,5",
]  # fmt: skip
TEXTS = [
    "", " ", "demo", "uig", "eng", "xx", "ug_CN", "0.1,0.9", "ppl", "nan,1", "1e400,1", "a,b",
    "preset", "off", "auto", "all", "large=1", "large=9999999999999999999", "judge=1", "=", ",",
    "cpt=0.1", "cpt=nan", "Q4_K_M", "q8_0", "bf16", "8GiB", "-", "--", "../..", "a/b", "x\ny",
    "\x1b[2J", "\udcff", "ئۇيغۇر", "བོད", "🇰🇿", "%s", "{}", "a" * 5000, "localhost:1",
]  # fmt: skip
PATHS = [
    "text.txt", "empty", "noise.gguf", "tiny.gguf", "trio.toml", "broken.toml", "lines.jsonl",
    "latin", "folder", "folder/none/x", "loop", "dangling", "missing", ".", "..", "", "-", "out",
    "out.png", "out.toml", "out.json", "out.txt", "a" * 300, "\udcff", "x\ny", "\x1b[2J",
    "~nobody-here/x", "no such folder/x", "text.txt/x", "sub=dir",
]  # fmt: skip


LARGE_MODULES = (
    "matplotlib.figure", "matplotlib.backends.backend_agg", "matplotlib.colors", "llama_cpp",
    "gguf", "huggingface_hub", "sacrebleu", "tomlkit", "polib", "markdown_it", "filelock", "jinja2",
    "langcodes.tag_parser", "psutil", "tqdm", "regex", "platformdirs",
    "trimix_cpp.serve.server", "uvicorn.lifespan.off", "anyio._backends._asyncio",
)  # fmt: skip
MODELS = [word for role in ("large", "cpt", "base") for word in (f"--{role}", "tiny.gguf")]
TEXT = ["--text", "long.txt", *MODELS, "-c", "16", "--chunks", "1", "-t", "1", "-q"]
# A command line that works, or nearly; a command that is not among these is tried without one.
BEGINNINGS = {
    "demo": ["Open", "-t", "1"],
    "chat": [*MODELS, "-n", "2", "-t", "1"],
    "generate": [*MODELS, "-n", "2", "-t", "1", "-p", "a"],
    "translate": ["text.txt", "-o", "out", "--from", "eng", "--to", "uig", "-n", "2", "-t", "1",
                  *MODELS],
    "tune": ["text.txt", *MODELS, "-c", "64", "-t", "1", "-q"],
    "check": MODELS,
    "convert": ["folder", "out.gguf"],
    "merge": ["out", "--model", "folder", "--base", "folder"],
    "quantize": ["tiny.gguf", "out.gguf", "Q8_0", "-t", "1"],
    "imatrix": ["tiny.gguf", "long.txt", "-o", "out", "-c", "16", "--chunks", "1", "-t", "1"],
    "impact": ["--profile", "Q8_0", "--no-noise", *TEXT],
    "plan": ["--ram", "1GiB", "--types", "Q8_0", *TEXT],
    "bench": [*MODELS, "-r", "1", "-p", "4", "-n", "1", "-d", "2", "--batches", "off",
              "--drafts", "off", "-t", "1"],
    "pull": ["--trio", "sources.toml"],
    "scan": ["folder"],
    "show": ["demo"],
    "serve": [*MODELS, "-t", "1", "--port", "0"],
}  # fmt: skip


_running: list[bool] = []
# Files that were there before: nobody changes them unasked.
_foreign: dict[Path, bytes] = {}


@dataclass(frozen=True)
class Run:
    """What a command line did."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with good, broken and odd files, and nothing beyond it that may be reached."""
    top = tmp_path_factory.mktemp("every")
    place = top / "here"
    (place / "folder").mkdir(parents=True)
    model = write_tiny_model(place / "tiny.gguf", n_ctx=256)
    (place / "noise.gguf").write_bytes(model.read_bytes()[:3000])
    (place / "text.txt").write_text("Open file\nཁ་ཕྱེ།\n", encoding="utf-8")
    (place / "long.txt").write_text("Open the file and the other file. " * 9, encoding="utf-8")
    (place / "sources.toml").write_text('[models]\nbase = { repo = "a/b" }\n', encoding="utf-8")
    (place / "empty").touch()
    (place / "latin").write_bytes(b"caf\xe9\n")
    (place / "lines.jsonl").write_text('{"prompt": "a"}\n[]\n', encoding="utf-8")
    (place / "trio.toml").write_text('[models]\nlarge = "tiny.gguf"\n', encoding="utf-8")
    (place / "broken.toml").write_text("models = 1e999\n[", encoding="utf-8")
    (place / "loop").symlink_to("loop")
    (place / "dangling").symlink_to("nowhere")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRIMIX_HOME", str(top / "store"))
        patch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.chdir(place)
        # What a Ctrl-C stops must not be an import: its half would stay in this process.
        for module in LARGE_MODULES:
            importlib.import_module(module)
        _foreign.update({path: path.read_bytes() for path in place.iterdir() if path.is_file()})
        before = [signal.signal(each, _pressed) for each in (signal.SIGALRM, signal.SIGINT)]
        yield place
        signal.signal(signal.SIGALRM, before[0])
        time.sleep(0.05)  # a Ctrl-C that is put off a little
        signal.signal(signal.SIGINT, before[1])


def run(arguments: list[str]) -> Run:
    """The command line in this process, with a few lines on standard input."""
    before = sys.stdin, sys.stdout, sys.stderr
    logger = logging.getLogger("trimix_cpp")
    handlers, level = logger.handlers, logger.level
    out, err = io.BytesIO(), io.BytesIO()
    said = b"Open\n/save out.json\n/weights nan\n/regen\n"
    sys.stdin = io.TextIOWrapper(io.BytesIO(said), encoding="utf-8")
    sys.stdout = io.TextIOWrapper(out, encoding="utf-8", write_through=True)
    sys.stderr = io.TextIOWrapper(err, encoding="utf-8", write_through=True)
    hook, sys.unraisablehook = sys.unraisablehook, raise_where_possible
    code = 130
    try:
        with contextlib.suppress(KeyboardInterrupt), interruptible():
            code = main(arguments)
    finally:
        sys.unraisablehook = hook
        (sys.stdin, sys.stdout, sys.stderr), streams = before, (sys.stdout, sys.stderr)
        logger.handlers, logger.level = handlers, level
        with contextlib.suppress(ValueError):
            for stream in streams:
                stream.flush()
    return Run(code, out.getvalue().decode("utf-8"), err.getvalue().decode("utf-8"))


def _pressed(number: int, frame: FrameType | None) -> None:
    if _running:
        signal.default_int_handler(number, frame)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Where a Ctrl-C of this module is one; one that comes late must not end the tests."""
    _running.append(True)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        _running.clear()
        signal.setitimer(signal.ITIMER_REAL, 0)


def value(param: click.Parameter) -> st.SearchStrategy[str]:
    """What somebody may say for an option: much that is wrong, some that is right."""
    kind = param.type
    if isinstance(kind, click.Choice):
        return st.sampled_from([*map(str, kind.choices), "nonsense", ""])
    if isinstance(kind, click.IntRange):
        least = kind.min or 0
        right = st.integers(least, min(least + 8, kind.max or least + 8)).map(str)
        return st.one_of(right, right, st.sampled_from(NUMBERS), st.integers().map(str))
    if isinstance(kind, click.types.IntParamType | click.types.FloatParamType):
        return st.sampled_from(NUMBERS) | st.floats().map(str)
    if isinstance(kind, click.Path):
        return st.sampled_from(PATHS)
    return st.sampled_from([*TEXTS, *PATHS]) | st.text(max_size=20).filter(lambda t: "\0" not in t)


def commands_of(of: click.Group, before: tuple[str, ...] = ()) -> dict[str, click.Command]:
    """Every command by its words, those of groups within groups too."""
    found: dict[str, click.Command] = {}
    with click.Context(of) as context:
        for name in of.list_commands(context):
            command = of.get_command(context, name)
            assert command is not None
            if isinstance(command, click.Group):
                found |= commands_of(command, (*before, name))
            else:
                found[" ".join((*before, name))] = command
    return found


COMMANDS = commands_of(group)


def parameters(name: str) -> list[click.Parameter]:
    """The arguments and options of a command."""
    return COMMANDS[name].params


@st.composite
def option(draw: st.DrawFn, param: click.Parameter) -> list[str]:
    """One option, with a value where it takes one."""
    flag = draw(st.sampled_from([*param.opts, *param.secondary_opts]))
    is_flag = isinstance(param, click.Option) and (param.is_flag or param.count)
    return [flag] if is_flag else [flag, draw(value(param))]


@st.composite
def command_lines(draw: st.DrawFn, name: str) -> list[str]:
    """A command with any of its arguments and options, in any order."""
    words: list[list[str]] = []
    for param in parameters(name):
        if isinstance(param, click.Argument):
            count = draw(st.integers(0, 3)) if param.nargs < 0 else draw(st.sampled_from([1, 1, 0]))
            words += [[draw(value(param))] for _ in range(count)]
        elif param.required or draw(st.integers(0, 5)) == 0:
            words.append(draw(option(param)))
    return [*name.split(), *(word for part in draw(st.permutations(words)) for word in part)]


@st.composite
def changed_lines(draw: st.DrawFn, name: str) -> list[str]:
    """A command line that works, with one or two more options; the last of a kind counts."""
    options = [param for param in parameters(name) if isinstance(param, click.Option)]
    more = [draw(option(draw(st.sampled_from(options)))) for _ in range(draw(st.integers(1, 2)))]
    return [*name.split(), *BEGINNINGS.get(name, []), *(word for part in more for word in part)]


def check(arguments: list[str], folder: Path) -> None:
    """Run a command line and hold what it does against the contract."""
    for left in folder.glob("out*"):
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink()
    done = run(arguments)
    assert done.code in CODES, arguments
    for text in (done.out, done.err):
        assert "Traceback" not in text, text
        assert "a defect of the program" not in text, text
        assert "\x1b" not in text, text
    lines = [line for line in done.err.splitlines() if line]
    if done.code in (1, 2, 3) and not {"-v", "--verbose"} & set(arguments):
        assert lines, "an error without a word"
        assert len(lines) <= MOST_LINES, done.err
        assert all(line.startswith("trimix-cpp: ") for line in lines), done.err
    for path, data in _foreign.items():
        if "--force" in arguments and path.read_bytes() != data:
            path.write_bytes(data)
        assert path.read_bytes() == data, (path, arguments)


def tried(lines: st.SearchStrategy[list[str]], folder: Path, n: int) -> None:
    """Check `n` command lines, and more where examples are looked for."""
    quiet = [HealthCheck.too_slow, HealthCheck.data_too_large]

    @settings(max_examples=examples(n), suppress_health_check=quiet)
    @given(lines)
    def each(arguments: list[str]) -> None:
        check(arguments, folder)

    each()


posix = pytest.mark.skipif(sys.platform == "win32", reason="no alarm there; links need rights")


@posix
@pytest.mark.parametrize("name", COMMANDS)
def test_whatever_is_said_an_error_is_a_line(name: str, folder: Path) -> None:
    tried(command_lines(name), folder, 4 if name == "demo" else 15)  # it works without options


@posix
@pytest.mark.parametrize("name", COMMANDS)
def test_whatever_is_changed_in_what_works_an_error_is_a_line(name: str, folder: Path) -> None:
    tried(changed_lines(name), folder, 6)


def test_every_number_has_bounds() -> None:
    """What C counts in 32 bits must not be given more; nan is beyond no bound."""
    for name in COMMANDS:
        for param in parameters(name):
            kind = param.type
            if not isinstance(kind, click.types.IntParamType | click.types.FloatParamType):
                continue
            assert isinstance(kind, click.IntRange | click.FloatRange), (name, param.name)
            assert kind.min is not None, (name, param.name)
            assert kind.max is not None, (name, param.name)
            assert kind.max < 2**64, (name, param.name)
            if isinstance(kind, click.FloatRange):
                with pytest.raises(click.BadParameter):
                    kind.convert("nan", param, None)
