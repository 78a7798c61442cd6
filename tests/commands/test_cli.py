"""The command line's contract: results on stdout, one line on stderr, the documented exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trimix_cpp.commands import NAMES
from trimix_cpp.commands.generate import prompt_in
from trimix_cpp.fusion.grid import DEFAULT_VALUES
from trimix_cpp.store.trios import find_trio

from ..support.cli import trimix
from ..support.tiny import write_tiny_model

PROMPT = "Please translate the following English text into Uyghur.\nEnglish: Open\nUyghur: "


def assert_one_line(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("trimix-cpp: ")
    assert done.stderr.count("\n") == 1
    for word in words:
        assert word in done.stderr


@pytest.fixture(scope="module")
def broken_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("broken")
    whole = write_tiny_model(folder / "whole.gguf").read_bytes()
    contents = {
        "empty": b"",
        "text": "سالام، بۇ مودېل ئەمەس\n".encode(),
        "truncated": whole[: len(whole) // 2],
        "header": whole[:200],
        "magic": b"GGUF",
        "version": whole[:4] + b"\x01" + whole[5:],
    }
    files = {}
    for name, data in contents.items():
        files[name] = folder / f"{name}.gguf"
        files[name].write_bytes(data)
    files["folder"] = folder
    files["missing"] = folder / "no such file.gguf"
    return files


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("empty", ("is empty",)),
        ("text", ("not a GGUF file",)),
        ("truncated", ("truncated",)),
        ("header", ("broken GGUF",)),
        ("magic", ("broken GGUF",)),
        ("version", ("version 1",)),
        ("folder", ("is a folder",)),
        ("missing", ("no such file",)),
    ],
)
@pytest.mark.parametrize("command", ["generate", "check"])
def test_a_bad_model_file_is_one_line(
    command: str, name: str, words: tuple[str, ...], broken_files: dict[str, Path]
) -> None:
    arguments = ["-p", "a"] if command == "generate" else []
    done = trimix(command, "--large", str(broken_files[name]), *arguments)
    assert_one_line(done, 1, str(broken_files[name]), *words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--weights", "much"], ("--weights", "alpha,beta")),
        (["--weights", "0.1"], ("--weights",)),
        (["--weights", "nan,1"], ("--weights",)),
        (["--lang", "xyz"], ("xyz",)),
        (["--trio", "nobody"], ("nobody", "trimix-cpp list")),
        (["--trio", "demp"], ("did you mean demo?",)),
        (["-ngl", "many"], ("-ngl",)),
        (["-ngl", "judge=1"], ("-ngl", "judge")),
        (["-ctk", "q9"], ("-ctk", "q8_0")),
        (["--temp", "-1"], ("--temp",)),
        (["--top-p", "x"], ("--top-p",)),
        (["-c", "-5"], ("-c",)),
        (["-n", "0"], ("-n",)),
        (["--no-such-option"], ("--no-such-option",)),
        (["-f", "also.txt"], ("not both",)),
        (["--trio", "demo", "--large", "x.gguf"], ("not both",)),
    ],
)
def test_wrong_usage_is_exit_2(arguments: list[str], words: tuple[str, ...]) -> None:
    models = [] if {"--lang", "--trio"} & set(arguments) else ["--trio", "demo"]
    assert_one_line(trimix("generate", "-p", "a", *models, *arguments), 2, *words)


def test_no_models_named() -> None:
    assert_one_line(trimix("generate", "-p", "a"), 2, "--lang", "--trio", "--large")


def test_a_language_without_a_trio() -> None:
    assert_one_line(trimix("generate", "--lang", "bo", "-p", "a"), 1, "Tibetan", "pull")


def test_weights_that_use_a_role_without_a_file(demo_files: dict[str, Path]) -> None:
    done = trimix(
        "generate", "--large", str(demo_files["large"]), "--weights", "0.3,0.9", "-p", "a"
    )
    assert_one_line(done, 1, "cpt", "--cpt")


def test_an_unknown_command() -> None:
    assert_one_line(trimix("speak"), 2, "speak")


def test_input_that_is_not_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "prompt.txt"
    path.write_bytes("سالام\n".encode() + "é".encode("latin-1"))
    assert_one_line(trimix("generate", "--trio", "demo", "-f", str(path)), 1, "line 2", "UTF-8")
    done = trimix("generate", "--trio", "demo", stdin=b"\xff\xfeS\x00")
    assert_one_line(done, 1, "standard input", "line 1")
    done = trimix("generate", "--trio", "demo", "-f", str(tmp_path / "none.txt"))
    assert_one_line(done, 1, "none.txt", "No such file")


def test_an_empty_prompt() -> None:
    assert_one_line(trimix("generate", "--trio", "demo", "-p", ""), 1, "prompt is empty")


def test_a_prompt_longer_than_the_context() -> None:
    done = trimix("generate", "--trio", "demo", "-c", "256", stdin="ئا " * 1000)
    assert_one_line(done, 1, "256", "-c")


def test_a_broken_trio_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    for text, word in (
        ("models = 3", "models"),
        ("[models", "TOML"),
        ('[models]\njudge = "a"', "judge"),
        ('speed = 1\n[models]\nlarge = "a"', "speed"),
        ('weights = [1]\n[models]\nlarge = "a"', "alpha, beta"),
    ):
        path.write_text(text, encoding="utf-8")
        done = trimix("generate", "--trio", str(path), "-p", "a")
        assert_one_line(done, 1, "mine.toml", word)


def test_a_users_own_trio_file(tmp_path: Path, demo_files: dict[str, Path]) -> None:
    path = tmp_path / "mine.toml"
    models = "\n".join(f'{role} = "{file.as_posix()}"' for role, file in demo_files.items())
    path.write_text(f"weights = [1, 0]\n[models]\n{models}\n", encoding="utf-8")
    ours = trimix("generate", "--trio", str(path), "-p", PROMPT, "-n", "8", "-t", "1")
    plain = trimix(
        "generate", "--large", str(demo_files["large"]), "-p", PROMPT, "-n", "8", "-t", "1"
    )
    assert (ours.returncode, ours.stdout) == (0, plain.stdout)


def test_json_as_the_contract_says() -> None:
    arguments = ("generate", "--lang", "uig", "-n", "12", "-t", "1", "--weights", "0.7,0.5")
    done = trimix(*arguments, "--json", stdin=PROMPT)
    report = json.loads(done.stdout)
    assert done.returncode == 0
    assert {"text", "tokens", "weights", "stop", "prompt_tokens", "timings"} <= set(report)
    assert report["weights"] == {"alpha": 0.7, "beta": 0.5}
    assert report["stop"] in ("end", "stop", "length", "context")
    assert 0 < report["tokens"] <= 12 < report["prompt_tokens"]
    streamed = trimix(*arguments, "-f", "-", stdin=PROMPT)
    assert streamed.stdout == report["text"] + "\n"


def test_one_line_break_at_the_end_of_a_file_is_no_part_of_the_prompt(tmp_path: Path) -> None:
    for written, prompt in (
        ("ئا", "ئا"), ("ئا\n", "ئا"), ("ئا\r\n", "ئا"), ("ئا\n\n", "ئا\n"), ("", ""), ("\n", ""),
        ("a\r\nb\r\n", "a\nb"), ("a\rb", "a\rb"), ("a\u2028", "a\u2028"), (" \t\n", " \t"),
    ):  # fmt: skip
        assert prompt_in(written) == prompt
    path = tmp_path / "prompt.txt"
    path.write_bytes(b"\xef\xbb\xbf" + f"{PROMPT}\n".replace("\n", "\r\n").encode())
    quick = ("generate", "--trio", "demo", "-n", "3", "-t", "1", "--json")
    reports = [
        json.loads(trimix(*quick, *given, stdin=stdin).stdout)
        for given, stdin in ((("-f", str(path)), ""), ((), f"{PROMPT}\n"), (("-p", PROMPT), ""))
    ]
    assert len({(one["prompt_tokens"], one["text"]) for one in reports}) == 1


def test_the_demo_says_that_it_is_a_demo() -> None:
    done = trimix("generate", "--lang", "ug", "-p", "a", "-n", "1", "-t", "1")
    assert done.returncode == 0
    assert done.stderr.count("\n") == 1
    assert "demo" in done.stderr


def test_the_same_seed_the_same_text() -> None:
    arguments = (
        "generate",
        "--trio",
        "demo",
        "-p",
        "ھۆججەت",
        "--temp",
        "1.2",
        "-n",
        "16",
        "-t",
        "1",
    )
    one, two, other = (trimix(*arguments, "--seed", seed) for seed in ("0", "0", "1"))
    assert one.stdout == two.stdout != other.stdout


def test_output_survives_a_c_locale() -> None:
    done = trimix(
        "generate", "--trio", "demo", "-p", "ھۆججەت", "-n", "4", "-t", "1",
        env={"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
    )  # fmt: skip
    assert done.returncode == 0


@pytest.mark.skipif(os.name != "posix", reason="a C locale")
def test_arguments_are_text_in_a_c_locale_too() -> None:
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    arguments = [
        "generate",
        "--trio",
        "demo",
        "--exact",
        "-n",
        "9",
        "--json",
        "-p",
        "ھۆججەت ئاچ",
        "-r",
    ]
    found = []
    for environment in ({"PYTHONUTF8": "1"}, plain):
        done = subprocess.run(
            [sys.executable, "-m", "trimix_cpp", *arguments, "ى"],
            capture_output=True,
            env={**os.environ, **environment},
        )
        assert done.returncode == 0, done.stderr
        found.append({k: v for k, v in json.loads(done.stdout).items() if k in ("text", "stop")})
    assert found[0] == found[1]
    assert found[0]["stop"] == "stop"


def test_a_closed_pipe_is_quiet() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "trimix_cpp", "generate", "--trio", "demo", "-p", "a", "-n", "400"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(1)
    process.stdout.close()
    stderr = process.stderr.read()
    process.stderr.close()
    process.wait()
    assert stderr == b""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_one_line() -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "trimix_cpp", "generate", "--trio", "demo", "-p", "a",
             "-n", "4", "-t", "1"],
            stdout=full, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "No space" in done.stderr


def test_nothing_heavy_is_imported_for_help() -> None:
    """--help answers at once because NumPy, llama.cpp and jinja2 wait until they are needed."""
    for arguments in ([], *([name] for name in NAMES)):
        code = (
            "import sys; from trimix_cpp.commands import main\n"
            f"code = main([*{arguments!r}, '--help'])\n"
            "heavy = {'numpy', 'llama_cpp', 'jinja2', 'gguf', 'prompt_toolkit', 'tqdm'}\n"
            "print('HEAVY', code, sorted(heavy & set(sys.modules)))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout.endswith("HEAVY 0 []\n"), done.stdout + done.stderr


def test_demo_shows_the_three_side_by_side() -> None:
    done = trimix("demo", "-t", "1", "Open the file")
    assert done.returncode == 0
    assert done.stderr == ""
    for word in ("Open the file", "large alone", "cpt alone", "TriMix", "alpha", "beta"):
        assert word in done.stdout
    rows = [
        json.loads(line) for line in trimix("demo", "--json", "-t", "1", "Open").stdout.splitlines()
    ]
    assert [row["weights"] for row in rows[:2]] == [
        {"alpha": 1, "beta": 0},
        {"alpha": 0, "beta": 1},
    ]
    assert [row["method"] for row in rows[2:]] == ["TriMix", "by answers"]
    assert rows[2]["weights"] == find_trio("demo").weights.as_json()
    assert set(rows[3]["weights"].values()) <= set(DEFAULT_VALUES)
    assert_one_line(trimix("demo", " "), 2, "empty")


def test_python_cli_py_is_the_same_program() -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, str(root / "cli.py"), "--version"], capture_output=True, text=True
    )
    assert done.stdout == trimix("--version").stdout


@pytest.mark.skipif(sys.platform == "win32", reason="signals are not sent like this on Windows")
def test_an_interrupt_is_exit_130_and_keeps_what_was_said() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "trimix_cpp", "generate", "--trio", "demo", "--weights", "0,0",
         "-c", "100000", "-t", "1", "--temp", "2", "-p", "The"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    said = process.stdout.read(20)
    process.send_signal(signal.SIGINT)
    rest, stderr = process.communicate()
    assert process.returncode == 130
    assert len(said) == 20
    assert (said + rest).decode("utf-8", "strict")
    assert stderr.decode().strip() == "trimix-cpp: interrupted"


def interrupted(seconds: float, *, twice: bool) -> tuple[int, str]:
    """A program that gets a Ctrl-C `seconds` after its own code has begun: exit code, stderr."""
    code = (
        "from trimix_cpp.__main__ import run; import sys; print(flush=True)\n"
        "sys.argv[1:] = 'generate --trio demo -p a -n 300 -t 1'.split(); run()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    if twice:
        time.sleep(0.002)
        process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    return process.returncode, stderr.decode()


def assert_interrupted(seconds: float, *, twice: bool) -> None:
    code, stderr = interrupted(seconds, twice=twice)
    assert code in (130, 0), (seconds, stderr)  # it may have been done
    assert stderr.strip() == ("trimix-cpp: interrupted" if code else ""), seconds


@pytest.mark.skipif(sys.platform == "win32", reason="signals are not sent like this on Windows")
@pytest.mark.parametrize("seconds", [0.003, 0.02, 0.06, 0.15, 0.3, 0.6])
def test_an_interrupt_is_one_line_at_every_moment(seconds: float) -> None:
    """While it imports, loads, evaluates, and at its end."""
    assert_interrupted(seconds, twice=False)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals are not sent like this on Windows")
@pytest.mark.parametrize("twice", [False, True])
def test_an_interrupt_is_one_line_at_a_hundred_moments(twice: bool) -> None:
    for at in range(100):
        assert_interrupted(0.003 + at * 0.012, twice=twice)


def test_the_shell_completes_commands_and_values() -> None:
    for words, count, found in (
        ("trimix-cpp gen", 1, "generate"),
        ("trimix-cpp generate --meth", 2, "--method"),
        ("trimix-cpp generate --method con", 3, "contrastive"),
        ("trimix-cpp chat -fa o", 3, "off"),
    ):
        done = trimix(env={"_TRIMIX_CPP_COMPLETE": "bash_complete", "COMP_WORDS": words,
                           "COMP_CWORD": str(count)})  # fmt: skip
        assert found in [line.partition(",")[2] for line in done.stdout.splitlines()]
        assert done.stderr == ""


def test_verbose_shows_llama_cpps_log() -> None:
    done = trimix("generate", "--trio", "demo", "-v", "-p", "a", "-n", "1", "-t", "1")
    assert done.returncode == 0
    assert "llama_model_loader" in done.stderr
    assert "llama" not in done.stdout
