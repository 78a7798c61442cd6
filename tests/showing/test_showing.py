"""What is shown: safe for a terminal, in columns, and counted rightly."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimix_cpp.commands import main
from trimix_cpp.showing import (
    Bar,
    SafeFormatter,
    Table,
    count,
    duration,
    json_text,
    notice,
    one_line,
    safe,
    size_text,
)

# What turns text around (UAX #9): embeddings, overrides, isolates.
BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
ANYTHING = st.text(st.characters(exclude_categories=()))


def harmless(text: str) -> bool:
    return not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or c in BIDI for c in text)


@given(ANYTHING)
def test_nothing_steers_the_terminal(text: str) -> None:
    assert harmless(one_line(text))
    assert harmless(safe(text).replace("\n", ""))
    table = Table([text, "n"], [[text, "1"]], text, text)
    for shown in (table.text(), table.markdown()):
        assert harmless(shown.replace("\n", ""))
    row = Table([], [[text, "1"], ["a", "2"]]).text()
    assert len(row.split("\n")) == 2


@given(st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"), exclude_characters=BIDI)))
def test_all_else_stays(text: str) -> None:
    assert safe(text) == text


@pytest.mark.parametrize(
    "text", ["سالام\u200fدۇنيا", "མི་རིགས", "می\u200cخواهم", "ᠮᠣᠩᠭᠣᠯ", "👩\u200d👧"]
)
def test_letters_of_all_scripts_stay(text: str) -> None:
    assert one_line(text) == text


def test_escapes_name_the_character() -> None:
    assert safe("a\x1b[2J\u202eb\udcff\r\n") == "a\\x1b[2J\\u202eb\\udcff\\r\n"
    assert one_line(" a\n  b\tc ") == "a b\\tc"


@given(st.recursive(ANYTHING | st.integers(), lambda kids: st.dictionaries(ANYTHING, kids)))
def test_json_says_the_same(value: object) -> None:
    for indent in (None, 2):
        text = json_text(value, indent=indent)
        assert json.loads(text) == value
        assert harmless(text.replace("\n", ""))


def test_an_error_cannot_steer(capsys: pytest.CaptureFixture[str]) -> None:
    name = "\x1b]0;title\x07\u202etxt.\nx"
    for code, arguments in (1, ["check", "-m", name]), (2, [f"--{name}"]), (2, [name]):
        assert main(arguments) == code
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert harmless(error.rstrip("\n"))


def test_warnings_of_every_room_are_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--version"])
    logging.getLogger("trimix_cpp.convert.spm").warning("%s is odd", "a\x1b[2J")
    logging.getLogger("trimix_cpp.llama").warning("llama.cpp's own, which -v shows")
    assert capsys.readouterr().err == "trimix-cpp: a\\x1b[2J is odd\n"


def test_a_log_keeps_its_lines() -> None:
    record = logging.makeLogRecord({"msg": "a\x07\nb"})
    assert SafeFormatter("%(message)s").format(record) == "a\\x07\nb"


def test_columns() -> None:
    table = Table(
        ["", "mean ± error", "type", "n"],
        [["ئۇيغۇر", "0.5 ± 0.1", "Q8_0", "1,000"], ["བོད་ཡིག", "~12.25 ± 0.1", "F16", "-"]],
    )
    assert table.text().split("\n") == [
        "        mean ± error  type      n",
        "ئۇيغۇر     0.5 ± 0.1  Q8_0  1,000",
        "བོད་ཡིག   ~12.25 ± 0.1  F16       -",
    ]
    first, ruler, *rows = table.markdown(padded=True).split("\n")
    assert ruler.replace("-", "") == "|  | : |  | : |"
    assert [row.split("|")[3].strip() for row in (first, *rows)] == ["type", "Q8_0", "F16"]


def test_a_cell_cannot_break_a_page() -> None:
    assert Table(["a"], [["b|c"]]).markdown().split("\n")[2] == "| b\\|c |"


def test_counts() -> None:
    assert [count(n, "text") for n in (0, 1, 2, 1000)] == [
        "0 texts", "1 text", "2 texts", "1,000 texts"
    ]  # fmt: skip


@given(st.integers(0, 1 << 60))
def test_sizes_are_near_and_never_nothing(n_bytes: int) -> None:
    text = size_text(n_bytes)
    value, unit = text.replace(",", "").split()
    factor = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}[unit]
    assert abs(float(value) * factor - n_bytes) <= 0.051 * factor
    assert (float(value) == 0) == (n_bytes == 0)
    assert float(value) < 1024 or unit == "TiB"


def test_times() -> None:
    shown = [duration(seconds) for seconds in (0.4, 89, 90, 1800, 9000)]
    assert shown == ["0 s", "89 s", "2 min", "30 min", "2.5 h"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", screen := Terminal())
    with Bar("a\x1b[2J", "texts", done=1) as bar:
        bar(3, 4, "7 tokens/s")
    shown = screen.getvalue()
    assert "a\\x1b[2J" in shown
    assert "texts" in shown
    monkeypatch.setattr(sys, "stderr", screen := Terminal())
    with Bar("a", "B", quiet=True) as bar:
        bar(1, 2)
    assert screen.getvalue() == ""


def test_without_a_terminal_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr("trimix_cpp.showing.progress.time.monotonic", lambda: now)
    with Bar("reading", "texts", done=90) as texts, Bar("file", "B") as data:
        for now in (10.0, 31.0, 32.0):
            texts(95, 100, "3 tokens/s")
            data(int(now) << 20, 64 << 20)
    assert capsys.readouterr().err.split("\n") == [
        "trimix-cpp: reading: 95 of 100 texts, 3 tokens/s, about 31 s left",
        "trimix-cpp: file: 31.0 MiB of 64.0 MiB, about 33 s left",
        "",
    ]


def test_a_notice_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    notice("a\nb\x9b31m")
    assert capsys.readouterr().err == "trimix-cpp: a b\\x9b31m\n"


@pytest.mark.parametrize("in_flight", [0, 16])
def test_the_time_that_is_left_counts_what_is_under_way(
    in_flight: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = [0.0]
    monkeypatch.setattr("trimix_cpp.showing.progress.time.monotonic", lambda: clock[0])
    with Bar("translating", "texts", in_flight=in_flight) as bar:
        clock[0] = 31.0
        bar(2, 100)  # 16 are under way, so about 10 are done
    said = capsys.readouterr().err
    left = re.findall(r"about (\d+) min", said)
    assert left == (["5"] if in_flight else ["25"])
