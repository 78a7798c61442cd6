"""`translate` with a memory, a glossary and contexts: marked, resumed at every line, and kept."""

from __future__ import annotations

import json
from pathlib import Path

import polib
import pytest

from ..support.cli import trimix

PO = """msgid ""
msgstr "Content-Type: text/plain; charset=UTF-8\\nLanguage: ug\\n"

msgid "Open the file"
msgstr "ھۆججەتنى ئېچىڭ"

msgctxt "menu"
msgid "Open the file"
msgstr ""

msgid "Close the window"
msgstr ""

msgid "Open the window"
msgstr ""

#. a verb
msgctxt "verb"
msgid "Close the window"
msgstr ""

msgid "Save %s"
msgstr ""
"""
MEMORY = "Close the file\tھۆججەتنى تاقا\nSave %s\tساقلا\nClose the window\tكۆزنەكنى تاقا\n"
GLOSSARY = "window\tكۆزنەك\n"
HOW = ("--trio", "demo", "-t", "1", "-n", "8", "--from", "eng", "--exact", "-q", "--no-retry")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, text in (("in.po", PO), ("m.tsv", MEMORY), ("g.tsv", GLOSSARY)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def run(*more: str) -> str:
    """What it says, in a process of its own: exact mode is chosen before the first decode."""
    done = trimix("translate", "in.po", "-o", "out.po", *HOW, *more)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_it_goes_on_at_every_line_to_the_same_bytes(folder: Path) -> None:
    aids = ("--memory", "m.tsv", "--glossary", "g.tsv", "--context")
    run(*aids, "--keep-journal", "--report", "r.json")
    whole = (folder / "out.po").read_bytes()
    journal = (folder / "out.po.journal").read_bytes()
    lines = journal.splitlines(keepends=True)
    told = json.loads((folder / "r.json").read_bytes())
    # With contexts, the menu's text is one to be translated, and so is the verb.
    assert (told["remembered"], told["translated"]) == (2, 3)
    assert told["generations"] == len(lines) - 1
    for count in range(1, len(lines) + 1):
        (folder / "out.po").unlink(missing_ok=True)
        (folder / "out.po.journal").write_bytes(b"".join(lines[:count]))
        run(*aids)
        assert (folder / "out.po").read_bytes() == whole
        assert not (folder / "out.po.journal").exists()


def test_what_is_remembered_is_told_and_what_is_doubtful_is_marked(folder: Path) -> None:
    run("--memory", "m.tsv", "--report", "r.json")
    entries = {(e.msgid, e.msgctxt): e for e in polib.pofile(str(folder / "out.po"))}
    assert entries["Open the file", None].msgstr == "ھۆججەتنى ئېچىڭ"
    for context in ("menu", None):
        assert entries["Open the file", context].msgstr == "ھۆججەتنى ئېچىڭ"
        assert not entries["Open the file", context].fuzzy
    for context in ("verb", None):
        assert entries["Close the window", context].msgstr == "كۆزنەكنى تاقا"
    lost = entries["Save %s", None]
    assert (lost.msgstr, lost.fuzzy) == ("ساقلا", True)
    assert "loses %s" in lost.tcomment
    assert json.loads((folder / "r.json").read_bytes())["remembered"] == 4


def test_a_changed_memory_costs_what_it_was_shown_for(folder: Path) -> None:
    run("--memory", "m.tsv", "--keep-journal", "--no-memory")
    (folder / "out.po").unlink()
    (folder / "m.tsv").write_text(MEMORY.replace("ھۆججەتنى", "ھۆججەت"), encoding="utf-8")
    run("--memory", "m.tsv", "--no-memory", "--report", "r.json")
    told = json.loads((folder / "r.json").read_bytes())
    # "Close the file" is an exemplar of both texts that were sent.
    assert (told["generations"], told["resumed"]) == (2, 0)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--memory", "none.tsv"), "none.tsv: No such file"),
        (("--memory", "in.txt"), "holds no translations"),
        (("--glossary", "empty.tbx"), "no term in both"),
        (("--weights", "ppl-answers", "--no-memory"), "give --shots FILE, or --memory FILE"),
    ],
)
def test_what_cannot_be_read_is_told_before_models_load(
    flags: tuple[str, ...], words: str, folder: Path
) -> None:
    (folder / "in.txt").write_text("Open\n")
    (folder / "empty.tbx").write_text("<tbx/>")
    done = trimix("translate", "in.po", "-o", "out.po", *HOW, *flags)
    assert done.returncode != 0
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (folder / "out.po").exists()
