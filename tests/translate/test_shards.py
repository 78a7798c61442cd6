"""Shards and their merge: whatever the partition, the bytes of one run; else what is wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimix_cpp.commands import main
from trimix_cpp.errors import UsageError
from trimix_cpp.translate.journal_lines import Keys, as_json, head_of, summed
from trimix_cpp.translate.shards import Shard, dealt, input_of, journals_beside
from trimix_cpp.translate.units import Unit

ROOT = Path(__file__).parents[2]
PAIR = ("--from", "eng", "--to", "uig")
MODELS = ("--trio", "demo", "-t", "1", "-n", "6", "--exact")
LINES = ["Open file", "Cut", "42", "Save %s", "", "Close", "Open file", "Undo", "New folder"]
MERGE = ["translate", "in.txt", "-o", "out.txt", "--merge", *PAIR]
ONE, TWO = "out.txt.1-of-2.journal", "out.txt.2-of-2.journal"


def shard(number: int, *more: str, count: int = 2, output: str = "out.txt") -> list[str]:
    which = ["--shard", f"{number}/{count}"]
    return ["translate", "in.txt", "-o", output, *which, *PAIR, *MODELS, "-q", *more]


def calls(folder: Path, *lines: list[str]) -> None:
    """Command lines in one process of their own: exact mode comes before any fast decode."""
    code = "import sys; from trimix_cpp.commands import main\n"
    code += "".join(f"sys.exit(1) if main({line!r}) else None\n" for line in lines)
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file, what one run makes of it, and the journals of two shards, of real models."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "in.txt").write_text("\n".join(LINES), encoding="utf-8", newline="")
    report = ["--report", "single.tsv", "-q"]
    whole = ["translate", "in.txt", "-o", "single.txt", *PAIR, *MODELS, "--keep-journal", *report]
    calls(
        folder, whole, shard(1), shard(2),
        shard(2, "--weights", "0.2,0.9", output="weights.txt"), shard(2, count=3),
    )  # fmt: skip
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy, with the journals of the two shards alone."""
    for name in ("in.txt", ONE, TWO):
        shutil.copy(made / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lines_of(name: str) -> list[bytes]:
    return Path(name).read_bytes().split(b"\n")[:-1]


def test_any_partition_and_any_interruption_give_the_single_runs_bytes() -> None:
    profile = settings.get_current_profile_name()
    done = subprocess.run(
        [sys.executable, "-m", "tests.translate.shard_runs", profile],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1:] == ["equal"], done.stderr


@given(st.lists(st.text(max_size=4), max_size=40, unique=True), st.integers(1, 50))
def test_each_text_is_in_one_shard_and_shards_are_even(texts: list[str], count: int) -> None:
    units = [Unit(text) for text in texts]
    shares = [Shard(number, count).units(units) for number in range(1, count + 1)]
    assert sorted(unit.text for share in shares for unit in share) == sorted(texts)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert [*dealt(len(units), count, input_of(units))] == [
        next(i for i, share in enumerate(shares, 1) if unit in share) for unit in units
    ]


def test_many_small_files_reach_all_shards() -> None:
    taken = [next(dealt(1, 8, input_of([Unit(f"text {i}")]))) for i in range(400)]
    assert all(20 < taken.count(number) < 90 for number in range(1, 9))


@pytest.mark.parametrize(
    "text", ["0/2", "3/2", "-1/2", "1/0", "a/b", "1", "1/2/3", "", "1 / 2", "٣/١٢", "1/99999999"]
)
def test_what_is_no_shard_is_told(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="no shard; 3/12 is the third of twelve"):
        Shard.parse(text)
    assert main(["translate", "in.txt", "-o", "o", f"--shard={text}", *PAIR]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_journals_are_found_by_their_names_alone(tmp_path: Path) -> None:
    names = ["o[1].x.10-of-12.journal", "o[1].x.9-of-12.journal"]
    others = [
        "o[1].x.journal",
        "o1.x.1-of-2.journal",
        "o[1].x.1-of-2.journal.lock",
        "o[1].x.1-of-2",
    ]
    for name in names + others:
        (tmp_path / name).touch()
    assert [path.name for path in journals_beside(tmp_path / "o[1].x")] == names[::-1]


def test_the_key_is_of_settings_seed_and_unit_as_before() -> None:
    """Journals of earlier runs go on: the hash is of one JSON list."""
    import hashlib

    known, unit = (
        {"exact": True, "models": {"large": "5e"}},
        Unit("Ach", frozenset({"b", "a"}), True),
    )
    whole = as_json([known, 7, "Ach", ["a", "b"], True])
    assert Keys(known, 7).key(unit) == hashlib.sha256(whole).hexdigest()[:32]


def test_a_merge_is_the_single_runs_file_and_report_and_loads_no_model(
    made: Path, folder: Path
) -> None:
    code = (
        "import sys; from trimix_cpp.commands import main\n"
        f"print(main({[*MERGE, '--report', 'r.tsv']!r}))\n"
        "print([name for name in ('llama_cpp', 'trimix_cpp.llama.backend') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["0", "[]"], done.stderr
    assert Path("out.txt").read_bytes() == (made / "single.txt").read_bytes()
    assert Path("r.tsv").read_bytes() == (made / "single.tsv").read_bytes()
    assert sorted(path.name for path in folder.iterdir()) == [
        "in.txt",
        "out.txt",
        ONE,
        TWO,
        "r.tsv",
    ]


def test_journals_may_be_named_and_copied_and_the_merge_may_come_again(
    made: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("far").mkdir()
    for name in (ONE, TWO):
        Path(name).rename(Path("far") / name)
    shutil.copy(Path("far", ONE), "far/copy.journal")
    for named in (["far/*"], [f"far/{ONE}", f"far/{TWO}"]):
        assert main([*MERGE[:5], *named, *MERGE[5:], *PAIR]) == 0
        assert Path("out.txt").read_bytes() == (made / "single.txt").read_bytes()
    assert "is complete already" in capsys.readouterr().err
    Path("out.txt").write_text("mine")
    assert main([*MERGE, "far/*"]) == 1
    assert Path("out.txt").read_text() == "mine"


def edit_text(name: str = TWO) -> None:
    path = Path(name)
    path.write_bytes(path.read_bytes().replace(b'"text": "', b'"text": "x', 1))


def rewritten(line: bytes, old: bytes, new: bytes) -> bytes:
    """A line with something else in it, and the right checksum."""
    assert old in line
    return summed(line[: line.rindex(b', "sum"')].replace(old, new, 1) + b"}")


def change(number: int, old: bytes, new: bytes, name: str = TWO) -> None:
    lines = lines_of(name)
    lines[number] = rewritten(lines[number], old, new)
    Path(name).write_bytes(b"\n".join(lines) + b"\n")


def append(line: bytes, name: str = TWO) -> None:
    Path(name).write_bytes(Path(name).read_bytes() + line)


def other_copy() -> None:
    shutil.copy(TWO, "other.2-of-2.journal")
    change(1, b'"text": "', b'"text": "x', "other.2-of-2.journal")


# What is done to the folder, and what the merge then says.
FAULTS: dict[str, tuple[Callable[[], object], list[str]]] = {
    "a shard is missing": (
        lambda: Path(TWO).unlink(), ["3 of 6 texts are missing", "2/2", "no journal"]
    ),
    "none is there": (lambda: [Path(ONE).unlink(), Path(TWO).unlink()], ["no journal of a shard"]),
    "one is torn": (
        lambda: Path(TWO).write_bytes(Path(TWO).read_bytes()[:-9]),
        ["1 of 6 texts are missing", "2/2 (1 of"],
    ),
    "a line is gone": (
        lambda: Path(TWO).write_bytes(b"\n".join(lines_of(TWO)[:-1]) + b"\n"), ["2/2 (1 of"]
    ),
    "a text is edited": (edit_text, [TWO, "1 line", "damaged, or was edited", "--shard 2/2"]),
    "a line is added": (lambda: append(b"a note\n"), [TWO, "1 line"]),
    "a text twice": (
        lambda: append(rewritten(lines_of(TWO)[1], b'"text": "', b'"text": "x') + b"\n"),
        [TWO, "two translations"],
    ),
    "another shard's text": (
        lambda: append(lines_of(ONE)[1] + b"\n"), [TWO, "none of shard 2/2"]
    ),
    "a head is torn": (
        lambda: Path(TWO).write_bytes(lines_of(TWO)[0][:50]), [TWO, "no head", "--shard"]
    ),
    "empty": (lambda: Path(TWO).write_bytes(b""), [TWO, "no head"]),
    "heads contradict": (
        lambda: append(rewritten(lines_of(TWO)[0], b'"exact": true', b'"exact": false') + b"\n"),
        [TWO, "heads contradict"],
    ),
    "another version": (
        lambda: change(0, b'translate": 2', b'translate": 3'), [TWO, "another version"]
    ),
    "the first version": (
        lambda: Path(TWO).write_bytes(b'{"trimix-cpp translate": 1, "seed": 0}\n'),
        [TWO, "another version"],
    ),
    "other models": (
        lambda: change(0, b'"large": "', b'"large": "0'),
        [TWO, "models.large", f"in {ONE}", "here"],
    ),
    "another program": (lambda: change(0, b'"version": "', b'"version": "9'), [TWO, "version"]),
    "other shards": (lambda: change(0, b'"count": 2', b'"count": 4'), [TWO, "2/4", ONE, "1/2"]),
    "no such shard": (lambda: change(0, b'"number": 2', b'"number": 9'), [TWO, "another version"]),
    "the file was edited": (
        lambda: Path("in.txt").write_text("\n".join([*LINES, "Paste"])),
        [ONE, "other texts than in.txt", "6 there, 7 here"],
    ),
    "no journal": (lambda: Path(TWO).write_text("notes\n"), [TWO, "no journal of a translation"]),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_is_told_and_nothing_is_written(
    fault: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    action, words = FAULTS[fault]
    action()
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert main(MERGE) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1, said
    for word in words:
        assert word in said
    assert before == {path: path.read_bytes() for path in folder.iterdir()}


def test_two_journals_of_a_shard_that_differ_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other_copy()
    assert main([*MERGE, ONE, TWO, "other.2-of-2.journal"]) == 1
    said = capsys.readouterr().err
    assert f"other.2-of-2.journal: differs from {TWO}, and both are of shard 2/2" in said


def test_journals_of_other_runs_are_refused(
    made: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, words in (
        ("weights.txt.2-of-2.journal", "beta 0.9 here)"),
        ("out.txt.2-of-3.journal", "is shard 2/3, and"),
        ("single.txt.journal", "of a whole file"),
    ):
        assert main([*MERGE, ONE, str(made / name)]) == 1
        assert words in capsys.readouterr().err
    for more, words in (
        (["--to", "bod"], "to (uig there, bod now)"), (["--from", "deu"], "from (eng there"),
    ):  # fmt: skip
        assert main([*MERGE, *more]) == 1
        assert words in capsys.readouterr().err
    Path("shots.tsv").write_text("a\tb\n")
    assert main([*MERGE, "--shots", "shots.tsv"]) == 1
    assert "shots (null there" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--shard", "1/2", "--merge"], "one of both"),
        (["--shard", "1/2", "--report", "r.json"], "--merge knows all segments"),
        (["--shard", "1/2", "--redo", "faults"], "--redo"),
        (["--shard", "1/2", "--check"], "--check"),
        (["--shard", "1/2", "-o", "-"], "-o"),
        (["--shard", "1/2", "--temp", "1", "--trio", "demo"], "-s N"),
        (["--merge", "--journal", "j"], "after IN"),
        (["--merge", "--restart"], "--restart"),
        (["--merge", ONE, TWO, "-o", ONE, "--force"], "is a journal, and the output"),
    ],
)
def test_wrong_usage(
    more: list[str], words: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["translate", "in.txt", "-o", "out.txt", *PAIR, *more]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert words in said


def test_a_damaged_shard_is_mended_by_its_command(made: Path, folder: Path) -> None:
    edit_text()
    calls(folder, shard(2), MERGE)
    assert Path("out.txt").read_bytes() == (made / "single.txt").read_bytes()


def test_a_shard_that_is_complete_needs_no_models_and_stays(folder: Path) -> None:
    """And another number, another file, or the whole, does not go on from it."""
    before = Path(ONE).read_bytes()
    assert main(shard(1)) == 0
    assert Path(ONE).read_bytes() == before
    assert main([*shard(2), "--journal", ONE]) == 1
    assert main(["translate", "in.txt", "-o", "o", "--journal", ONE, *PAIR, *MODELS]) == 1
    Path("in.txt").write_text("Paste\n")
    assert main(shard(1)) == 1
    assert Path(ONE).read_bytes() == before


def test_one_shard_has_one_process_and_two_shards_go_together(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from filelock import FileLock

    with FileLock(f"{ONE}.lock"):
        assert main(shard(1)) == 1
        assert "another process is writing it" in capsys.readouterr().err
        assert main(shard(2)) == 0
    assert {path.name for path in folder.iterdir()} >= {ONE, TWO}


def test_other_features_of_cpus_are_told_in_exact_mode_alone(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import json

    head = head_of(json.loads(lines_of(TWO)[0]))
    assert head.machine is not None
    assert head.machine.cpu
    change(0, b'"features": [', b'"features": ["AVX1024", ')
    assert main([*MERGE, "-q"]) == 0
    said = capsys.readouterr().err
    assert "nothing else (shard 1); AVX1024 (shard 2)" in said
    assert "other features of CPUs" in said


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
def test_a_full_disk_leaves_a_shard_that_goes_on(made: Path, folder: Path) -> None:
    whole = Path(TWO).read_bytes()
    Path(TWO).unlink()
    code = (
        "import resource, sys; from trimix_cpp.commands import main\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({len(whole) - 200}, -1))\n"
        f"sys.exit(main({shard(2)!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ}
    )
    assert done.returncode == 1
    assert "File too large; what is in it is kept" in done.stderr
    assert done.stderr.count("\n") == 1
    assert main(MERGE) == 1
    calls(folder, shard(2), MERGE)
    assert Path("out.txt").read_bytes() == (made / "single.txt").read_bytes()


def test_several_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in/deep").mkdir(parents=True)
    Path("in/a.txt").write_text("Open file\nCut\n42\n")
    Path("in/deep/b.po").write_text('msgid "Cut"\nmsgstr ""\n')
    Path("in/empty.txt").write_text("")
    call = ["translate", "in", "-q", *PAIR, *MODELS]
    calls(
        tmp_path, [*call, "--into", "single/{path}"],
        *([*call, "--into", "out/{path}", "--shard", f"{i}/2"] for i in (1, 2)),
    )  # fmt: skip
    assert not any(path.suffix in (".txt", ".po") for path in Path("out").rglob("*"))
    merge = ["translate", "in", "--into", "out/{path}", "--merge", *PAIR]
    assert main(merge) == 0
    for path in Path("single").rglob("*.*"):
        assert (Path("out") / path.relative_to("single")).read_bytes() == path.read_bytes()
    shutil.rmtree("out/deep")
    assert main([*merge, "--force"]) == 1, "the others are written all the same"
