"""`trimix-cpp translate --check`, and what becomes of faulty translations, as a user has it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from trimix_cpp.commands import main

from ..support.cli import trimix

PO = """msgid ""
msgstr ""
"Language: ug\\n"
"Content-Type: text/plain; charset=UTF-8\\n"

msgid "Open %s?"
msgstr "ئاچ"

msgid "Close"
msgstr "تاقا"

#, fuzzy
msgid "Print %d"
msgstr "باس"

msgid "New"
msgstr ""
"""
SRT = "1\n00:00:01,000 --> 00:00:02,000\n{}\n"
TSV = "en\tug\nOpen %s?\tئاچ\nClose\tتاقا\n"


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["translate", *arguments])
    told = capsys.readouterr()
    return code, told.out, told.err


def test_a_catalogue(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.po"
    path.write_text(PO, encoding="utf-8")
    code, out, err = run(capsys, "--check", str(path))
    assert code == 1
    assert out.splitlines() == [
        f"{path}:6: placeholders: loses %s: ئاچ",
        f"{path}:6: ends: ends without a question mark: ئاچ",
    ]
    assert err == (
        "trimix-cpp: 2 translations checked, 1 faulty, 1 not translated, 1 fuzzy, left out\n"
    )
    code, out, _ = run(capsys, "--check", str(path), "--no-check", "placeholders,ends")
    assert (code, out) == (0, "")
    code, out, _ = run(capsys, "--check", str(path), "--fuzzy", "--json")
    document = json.loads(out)
    assert code == 1
    assert (document["ok"], document["checked"], document["untranslated"]) == (False, 3, 1)
    assert [(item["check"], item["reason"]) for item in document["faults"]] == [
        ("placeholders", "loses %s"),
        ("ends", "ends without a question mark"),
        ("placeholders", "loses %d"),
    ]
    assert path.read_text(encoding="utf-8") == PO


def test_a_table_and_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "a.tsv"
    table.write_text(TSV, encoding="utf-8")
    columns = ("--column", "en", "--into", "ug", "--from", "en", "--to", "ug")
    code, out, _ = run(capsys, "--check", str(table), *columns)
    assert code == 1
    assert f"{table}:2: placeholders: loses %s" in out
    code, _, _ = run(capsys, "--check", str(table), *columns, "--no-check", "placeholders,ends")
    assert code == 0


def test_two_files_of_one_language_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, other = tmp_path / "a.srt", tmp_path / "b.srt"
    source.write_text(SRT.format("Come in."), encoding="utf-8")
    other.write_text(SRT.format("كىرىڭ."), encoding="utf-8")
    both = ("--check", str(other), "--source", str(source), "--to", "uig")
    assert run(capsys, *both)[0] == 0
    assert run(capsys, *both, "--max-length", "4")[0] == 1
    other.write_text(SRT.format(("كىرىڭ. " * 8).strip()), encoding="utf-8")
    code, out, _ = run(capsys, *both, "--no-check", "repeats")
    assert code == 1
    assert "is to be read at 55 characters a second, 20 at most" in out
    assert run(capsys, *both, "--no-check", "repeats,length")[0] == 0
    code, _, err = run(capsys, "--check", str(other), "--to", "uig")
    assert code == 2
    assert "--source FILE" in err
    other.write_text(SRT.format("x") + "\n" + SRT.format("y"), encoding="utf-8")
    code, _, err = run(capsys, *both)
    assert code == 1
    assert "2 texts" in err


def test_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.po"
    path.write_text(PO, encoding="utf-8")
    code, _, err = run(capsys, "--check", str(path), "--no-check", "typos")
    assert code == 2
    assert "no check 'typos'; there are placeholders" in err
    code, _, err = run(capsys, str(path), "-o", str(tmp_path / "o.po"), "--json")
    assert code == 2
    assert "--json goes with --check" in err
    assert "placeholders" in run(capsys, str(path), "--no-check", "list")[1]


def test_a_check_needs_no_models(tmp_path: Path) -> None:
    path = tmp_path / "a.po"
    path.write_text(PO, encoding="utf-8")
    code = (
        "import sys; from trimix_cpp.commands import main; "
        f"main(['translate', '--check', {str(path)!r}]); "
        "print([name for name in ('llama_cpp', 'numpy', 'jinja2') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def exactly(*arguments: str) -> tuple[int, str]:
    """In a process of its own: exact mode is chosen before the first decode."""
    done = trimix("translate", *arguments)
    return done.returncode, done.stderr


def test_faulty_ones_are_kept_out_and_reported(tmp_path: Path) -> None:
    """The demo trio loses placeholders; which it loses is its own affair."""
    path = tmp_path / "a.po"
    lines = ["%1$s {name} %2$s Open", "Open", "Close"]
    path.write_text("".join(f'msgid "{line}"\nmsgstr ""\n\n' for line in lines), encoding="utf-8")
    models = ("--trio", "demo", "--from", "eng", "--to", "uig", "-n", "8", "-t", "1", "--exact")
    journal = tmp_path / "j"
    texts = {}
    for choice, extra in (("mark", ()), ("keep", ()), ("drop", ("--mark", "all"))):
        out, report = tmp_path / f"{choice}.po", tmp_path / f"{choice}.html"
        code, err = exactly(
            str(path), "-o", str(out), *models, "--on-fault", choice, *extra,
            "--report", str(report), "--journal", str(journal), "--keep-journal",
        )  # fmt: skip
        assert code == 0, err
        texts[choice] = out.read_text(encoding="utf-8")
        assert report.read_text(encoding="utf-8").count("<tr") == 4
    strings = {name: text.split('msgstr "')[1].split('"')[0] for name, text in texts.items()}
    assert strings["keep"] == lines[0]
    assert strings["drop"] == ""
    assert strings["mark"] not in ("", lines[0])
    assert texts["drop"].count("fuzzy") == 2
    # Nothing of this decides a text: the journal was taken up each time.
    assert len(journal.read_text(encoding="utf-8").splitlines()) == 4


def test_what_is_faulty_is_translated_again(tmp_path: Path) -> None:
    path, out, report = (tmp_path / name for name in ("a.txt", "b.txt", "r.json"))
    path.write_text("Open\n%1$s {name} %2$s Open\nClose\n", encoding="utf-8")
    models = ("--trio", "demo", "--from", "eng", "--to", "uig", "-n", "8", "-t", "1", "--exact")
    common = (str(path), "-o", str(out), *models, "--report", str(report))
    code, err = exactly(*common, "--redo", "faults")
    assert code == 2
    assert "is not there" in err
    assert exactly(*common)[0] == 0
    first = out.read_bytes().split(b"\n")
    code, err = exactly(*common, "--redo", "faults", "--temp", "0.5", "-s", "3")
    assert code == 0, err
    second = out.read_bytes().split(b"\n")
    assert [first[0], first[2:]] == [second[0], second[2:]]
    document = json.loads(report.read_text(encoding="utf-8"))
    assert (document["segments"], document["generations"]) == (1, 1)
    assert not list(tmp_path.glob("*.journal"))


def test_terms_of_a_glossary_are_looked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.po").write_text(PO, encoding="utf-8")
    (tmp_path / "g.tsv").write_text("close\tياپ\n", encoding="utf-8")
    asked = ["translate", "--check", str(tmp_path / "a.po"), "--glossary", str(tmp_path / "g.tsv")]
    assert main([*asked, "--from", "eng", "-q"]) == 1
    assert "a.po:9: terms: has not the term ياپ (close): تاقا" in capsys.readouterr().out
    assert main([*asked, "-q"]) == 2
    assert "--from" in capsys.readouterr().err
