"""`trimix-cpp translate` as a user has it: files in and out, and interruption at any point."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trimix_cpp.commands import main
from trimix_cpp.store.trios import find_trio

from ..support.cli import trimix

LINES = [
    "Open file", "Close the window", "42", "Save %s", "", "Select all", "New folder",
    "https://example.org/a", "Print the page", "Open file", "Cannot open the file", "Cut",
]  # fmt: skip
# One thread and exact mode: the same numbers whatever else the machine does.
MODELS = ("--trio", "demo", "-t", "1", "--from", "eng", "--to", "uig", "-n", "16")
EXACT = (*MODELS, "--exact", "--parallel", "3")

PRESET = find_trio("demo").weights


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    path = tmp_path / "notes.txt"
    path.write_text("\n".join(LINES), encoding="utf-8", newline="")
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What an uninterrupted run in exact mode makes of `LINES`."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "notes.txt").write_text("\n".join(LINES), encoding="utf-8", newline="")
    done = trimix("translate", str(folder / "notes.txt"), "-o", str(folder / "out.txt"), *EXACT)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["notes.txt", "out.txt"]
    return (folder / "out.txt").read_bytes()


def translate(source: Path, output: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return trimix("translate", str(source), "-o", str(output), *EXACT, *more)


def killed(source: Path, output: Path, lines: int, *more: str, by: int = 9) -> bytes:
    """A run that is killed once its journal has so many lines; what it said on stderr."""
    journal = output.with_name(output.name + ".journal")
    process = subprocess.Popen(
        [sys.executable, "-m", "trimix_cpp", "translate", str(source), "-o", str(output),
         *EXACT, *more],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    while process.poll() is None:
        if journal.exists() and journal.read_bytes().count(b"\n") >= lines:
            process.send_signal(by)
            break
        time.sleep(0.001)
    return process.communicate(timeout=120)[1]


def assert_one_line(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("trimix-cpp: ")
    assert done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert word in done.stderr


def test_a_text_file(whole: bytes) -> None:
    source, lines = LINES, whole.decode("utf-8").split("\n")
    assert len(lines) == len(source)
    for text, line in zip(source, lines, strict=True):
        if text in ("42", "", "https://example.org/a"):
            assert line == text
        else:
            assert line != text
            assert any("\u0600" <= char <= "\u06ff" for char in line)
    assert lines[0] == lines[9]


def test_killed_again_and_again_it_ends_in_the_same_bytes(
    notes: Path, tmp_path: Path, whole: bytes
) -> None:
    output = tmp_path / "out.txt"
    before = 0
    for lines in (1, 3, 6):
        killed(notes, output, lines)
        assert not output.exists()
        now = (tmp_path / "out.txt.journal").read_bytes().count(b"\n")
        assert now >= max(before, lines)
        before = now
    with (tmp_path / "out.txt.journal").open("ab") as file:
        file.write(b'{"key": "12", "text": "\xd8')  # torn in the middle of a character
    done = translate(notes, output)
    assert done.returncode == 0, done.stderr
    assert "going on" in done.stderr
    assert output.read_bytes() == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "out.txt"]


@pytest.mark.slow
def test_killed_at_random_times(notes: Path, tmp_path: Path, whole: bytes) -> None:
    """Also while models load, between lines of the journal, and while the output is written."""
    began = time.monotonic()
    translate(notes, tmp_path / "measure.txt")
    usual = time.monotonic() - began
    rng = random.Random(5)
    for i in range(25):
        output = tmp_path / f"out{i}.txt"
        for _ in range(rng.randint(1, 3)):
            process = subprocess.Popen(
                [sys.executable, "-m", "trimix_cpp", "translate", str(notes), "-o", str(output),
                 *EXACT],
                stderr=subprocess.DEVNULL,
            )  # fmt: skip
            time.sleep(rng.uniform(0, usual))
            process.kill()
            process.wait()
            if output.exists():
                assert output.read_bytes() == whole
        if not output.exists() or output.with_name(output.name + ".journal").exists():
            done = translate(notes, output)
            assert (done.returncode, output.read_bytes()) == (0, whole), done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals are not sent like this on Windows")
def test_ctrl_c_says_how_to_go_on(notes: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.txt"
    process_said = killed(notes, output, 2, by=signal.SIGINT).decode()
    assert process_said.count("\n") == 1
    assert "interrupted" in process_said
    assert "out.txt.journal" in process_said
    assert not output.exists()


def test_the_second_of_two_runs_on_an_output_refuses(notes: Path, tmp_path: Path) -> None:
    output, journal = tmp_path / "out.txt", tmp_path / "out.txt.journal"
    first = subprocess.Popen(
        [sys.executable, "-m", "trimix_cpp", "translate", str(notes), "-o", str(output), *EXACT],
        stderr=subprocess.DEVNULL,
    )
    while not journal.exists() and first.poll() is None:
        time.sleep(0.001)
    if os.name == "posix":
        first.send_signal(signal.SIGSTOP)  # it has all the time of the world
    try:
        if first.poll() is None:
            assert_one_line(translate(notes, output, "--force"), 1, "another process", "out.txt")
    finally:
        first.kill()
        first.wait()
    # What a killed process leaves behind locks nobody out.
    assert (tmp_path / "out.txt.lock").exists()
    assert translate(notes, output).returncode == 0


def test_other_settings_do_not_mix(notes: Path, tmp_path: Path, whole: bytes) -> None:
    output = tmp_path / "out.txt"
    killed(notes, output, 3)
    refused = translate(notes, output, "--weights", "1,0")
    assert_one_line(refused, 1, "weights", str(PRESET), "alpha 1", "--restart")
    assert not output.exists()
    assert translate(notes, output, "--weights", "1,0", "--restart", "-q").returncode == 0
    assert output.read_bytes() != whole


def test_a_changed_input_keeps_what_is_still_in_it(notes: Path, tmp_path: Path) -> None:
    output, report = tmp_path / "out.txt", tmp_path / "report.json"
    assert translate(notes, output, "--keep-journal").returncode == 0
    first = output.read_bytes().split(b"\n")
    notes.write_text("\n".join(["Paste", *LINES]), encoding="utf-8", newline="")
    assert_one_line(translate(notes, output, "--keep-journal"), 1, "--force")
    assert translate(notes, output, "--force", "--report", str(report)).returncode == 0
    assert output.read_bytes().split(b"\n")[1:] == first
    told = json.loads(report.read_text(encoding="utf-8"))
    assert told["generations"] - told["resumed"] == 1
    # The same again: nothing is left to do, and nothing is overwritten.
    assert_one_line(translate(notes, output), 1, "--force")


def test_a_run_cut_short_after_the_output_appeared_is_complete(notes: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.txt"
    assert translate(notes, output, "--keep-journal", "-q").returncode == 0
    before = output.stat().st_mtime_ns
    done = translate(notes, output)
    assert done.returncode == 0
    assert "complete" in done.stderr
    assert output.stat().st_mtime_ns == before
    assert not (tmp_path / "out.txt.journal").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
def test_a_full_disk_is_one_line_and_the_run_goes_on_later(
    notes: Path, tmp_path: Path, whole: bytes
) -> None:
    output = tmp_path / "out.txt"
    code = (
        "import resource, sys\n"
        "from trimix_cpp.commands import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1600, resource.RLIM_INFINITY))\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    full = subprocess.run(
        [sys.executable, "-c", code, "translate", str(notes), "-o", str(output), *EXACT, "-q"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert_one_line(full, 1, "File too large", "out.txt")
    assert not output.exists()
    assert translate(notes, output).returncode == 0
    assert output.read_bytes() == whole


def test_a_random_seed_is_kept_on_the_way(notes: Path, tmp_path: Path) -> None:
    output, journal = tmp_path / "out.txt", tmp_path / "out.txt.journal"
    killed(notes, output, 3, "--temp", "1.1")
    seed = json.loads(journal.read_bytes().split(b"\n")[0])["seed"]
    assert translate(notes, output, "--temp", "1.1").returncode == 0
    again = tmp_path / "again.txt"
    assert translate(notes, again, "--temp", "1.1", "--seed", str(seed)).returncode == 0
    assert output.read_bytes() == again.read_bytes()


def test_report_and_summary(notes: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.txt"
    done = translate(notes, output, "--report", "-")
    report = json.loads(done.stdout)
    assert report["segments"] == 11  # the empty line is none
    assert report["passed_through"] == 2
    assert report["translated"] == 9
    assert report["generations"] == 8  # one line stands twice
    assert report["weights"] == PRESET.as_json()
    assert report["tokens"] > 8
    assert report["seconds"] > 0
    for item in report["flagged"]:
        assert item["where"].startswith(str(notes))
        assert item["reasons"]
    assert "11 segments" in done.stderr
    assert f"{len(report['flagged'])} to look at" in done.stderr


def test_quiet_tells_only_what_to_look_at(tmp_path: Path) -> None:
    source = tmp_path / "in.txt"
    source.write_text("Open\n%1$s {name} %2$s the\n", encoding="utf-8")
    done = translate(source, tmp_path / "out.txt", "-q")
    assert done.returncode == 0
    assert done.stderr.startswith(f"trimix-cpp: {source}:2: loses ")
    assert done.stderr.count("\n") == 1


def test_standard_input_and_output() -> None:
    done = trimix("translate", "-", *MODELS, "-q", stdin="Open file\n\n7\n")
    assert done.returncode == 0
    lines = done.stdout.split("\n")
    assert lines[1:] == ["", "7", ""]
    assert any("\u0600" <= char <= "\u06ff" for char in lines[0])
    rows = trimix(
        "translate", "-", "-o", "-", "--format", "jsonl", *MODELS, "-q",
        stdin='{"text": "Open file", "n": 1.50}\n',
    ).stdout  # fmt: skip
    assert json.loads(rows)["translation"] == lines[0]
    assert "1.50" in rows
    catalogue = trimix(
        "translate", "-", "--format", "po", *MODELS, "-q", stdin='msgid "Open file"\nmsgstr ""\n'
    ).stdout
    assert catalogue == f'msgid "Open file"\nmsgstr "{lines[0]}"\n'


def test_the_language_is_the_file_s(tmp_path: Path) -> None:
    source = tmp_path / "m.po"
    source.write_text(
        'msgid ""\nmsgstr "Language: ug\\n"\n\nmsgid "Open"\nmsgstr ""\n', encoding="utf-8"
    )
    call = ["translate", str(source), "-o", "-", "-q", "--trio", "demo", "-t", "1", "-n", "4"]
    done = trimix(*call, "--from", "en")
    assert done.returncode == 0, done.stderr
    assert re.search('msgstr "[\u0600-\u06ff]', done.stdout)
    assert_one_line(trimix(*call), 2, "m.po", "--from")
    told = trimix(*call, "--from", "en", "--to", "bod")
    assert "says ug (Uyghur), --to says bod (Tibetan)" in told.stderr


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf", b"12\r\n"])
def test_a_file_with_nothing_to_translate_comes_out_as_it_is(
    tmp_path: Path, content: bytes
) -> None:
    source, output = tmp_path / "in.txt", tmp_path / "out.txt"
    source.write_bytes(content)
    assert translate(source, output, "-q").returncode == 0
    assert output.read_bytes() == content
    assert not output.with_name("out.txt.journal").exists()


def test_po_end_to_end(tmp_path: Path) -> None:
    import polib

    source, output = tmp_path / "m.po", tmp_path / "m.ug.po"
    source.write_text(
        'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=UTF-8\\n"\n'
        '"Language: ug\\n"\n\n'
        '# seen\nmsgid "Open"\nmsgstr "ئاچ"\n\n'
        'msgid "_Close"\nmsgstr ""\n\n'
        '#, c-format\nmsgid "%1$s {name} %2$s %3$s"\nmsgstr ""\n\n'
        '#, c-format\nmsgid "%1$s {name} the %2$s"\nmsgstr ""\n',
        encoding="utf-8",
    )
    done = translate(source, output, "--report", str(tmp_path / "r.json"))
    assert done.returncode == 0, done.stderr
    entries = {entry.msgid: entry for entry in polib.pofile(str(output))}
    assert entries["Open"].msgstr == "ئاچ"
    assert entries["_Close"].msgstr.endswith("(_C)")
    assert not entries["_Close"].fuzzy
    broken = entries["%1$s {name} the %2$s"]
    assert broken.fuzzy
    assert "loses" in broken.tcomment


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["none.txt", "-o", "o.txt"], 1, ("none.txt", "No such file")),
        (["in.txt"], 2, ("-o",)),
        (["in.txt", "-o", "in.txt"], 2, ("is the input", "-o")),
        (["in.txt", "-o", "folder/../in.txt", "--force"], 2, ("the input",)),
        (["in.txt", "-o", "o.txt", "--report", "in.txt"], 2, ("the input", "--report")),
        (["in.txt", "-o", "o.txt", "--journal", "o.txt"], 2, ("is -o", "--journal")),
        (["in.txt", "-o", "o.txt", "--journal", "-"], 2, ("--journal",)),
        (["in.txt", "-o", "there.txt"], 1, ("there.txt", "--force")),
        (["in.txt", "-o", "folder"], 1, ("folder",)),
        (["in.txt", "-o", "no/where.txt"], 1, ("no", "folder")),
        (["in.txt", "-o", "o.txt", "--to", "eng"], 2, ("both English",)),
        (["in.txt", "-o", "o.txt", "--to", "xyz"], 2, ("xyz",)),
        (["in.xyz", "-o", "o.odt"], 2, ("--format NAME", "po (.po .pot)")),
        (["in.txt", "-o", "o.txt", "--column", "2"], 2, ("--column",)),
        (["in.txt", "-o", "o.txt", "--encoding", "klingon"], 2, ("--encoding", "klingon")),
        (["latin.txt", "-o", "o.txt", "--encoding", "latin-1"], 1, ("no 'ئ'", "Uyghur")),
        (["-", "-o", "-", "--report", "-"], 2, ("standard output",)),
        (["latin.txt", "-o", "o.txt"], 1, ("latin.txt", "line 2", "UTF-8")),
        (["half.xlf", "-o", "o.xlf"], 1, ("half.xlf: line 3: not well-formed XML",)),
        (["bomb.xml", "-o", "o.xml"], 1, ("bomb.xml: line 2: the entity b",)),
        (["in.txt", "-o", "o.txt", "--shots", "in.txt"], 1, ("in.txt", "line 1")),
        (["in.txt", "-o", "o.txt", "--shots", "no.tsv"], 1, ("no.tsv",)),
        (["in.txt", "-o", "o.txt", "--journal", "there.txt"], 1, ("there.txt", "no journal")),
        (["in.txt", "-o", "o.txt", "--parallel", "-1"], 2, ("--parallel",)),
        (["in.txt", "-o", "o.txt", "--parallel", "300"], 2, ("256",)),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    words: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.txt").write_text("Open\n", encoding="utf-8")
    (tmp_path / "in.xyz").write_bytes(b"PK")
    (tmp_path / "in.po").write_text('msgid "a"\nmsgstr ""\n', encoding="utf-8")
    (tmp_path / "latin.txt").write_bytes("a\né\n".encode("latin-1"))
    (tmp_path / "half.xlf").write_text("<xliff>\n<file>\n<trans-u", encoding="utf-8")
    (tmp_path / "bomb.xml").write_text(
        '<!DOCTYPE resources [<!ENTITY a "lol">\n<!ENTITY b "&a;&a;">]><resources/>',
        encoding="utf-8",
    )
    (tmp_path / "there.txt").write_text("mine\n", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    language = [] if "--to" in arguments else ["--to", "uig"]
    call = ["translate", *arguments, "--from", "eng", *language, "--trio", "demo", "-t", "1"]
    # In this process, for speed: `main` is all there is to the program.
    done = main(call), *capsys.readouterr()
    assert_one_line(subprocess.CompletedProcess(call, *done), code, *words)
    assert {path: path.read_bytes() for path in before} == before
    assert {path for path in tmp_path.iterdir() if path.is_file()} == set(before), "litter"


def test_the_trio_and_its_preset_follow_from_the_languages(tmp_path: Path, notes: Path) -> None:
    files = find_trio("demo").roles
    models = "\n".join(f'{role} = "{spec.path.as_posix()}"' for role, spec in files.items())
    toml = tmp_path / "mine.toml"
    toml.write_text(
        f'weights = [0.1, 0.9]\n[models]\n{models}\n[presets]\n"translation.eng-uig" = [1, 0]\n',
        encoding="utf-8",
    )
    source = tmp_path / "one.txt"
    source.write_text("Open file\n", encoding="utf-8")
    common = ("--from", "en", "--to", "ug", "-n", "4", "-t", "1", "--report", "-")
    done = trimix(
        "translate", str(source), "-o", str(tmp_path / "a.txt"), "--trio", str(toml), *common
    )
    assert json.loads(done.stdout)["weights"] == {"alpha": 1, "beta": 0}
    done = trimix("translate", str(source), "-o", str(tmp_path / "b.txt"), *common)
    assert json.loads(done.stdout)["weights"] == PRESET.as_json()
    assert "demo" in done.stderr
