"""The journal keeps what was whole, wherever it was cut."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimix_cpp.errors import TrimixError
from trimix_cpp.evaluate.journal import Journal, key_of

LINES = [("a", {"text": "سالام"}), ("b", {"likelihoods": [-1.5, None]}), ("c", {"text": "བོད"})]


def write(path: Path) -> bytes:
    with Journal(path) as journal:
        for key, values in LINES:
            journal.add(key, values)
    return path.read_bytes()


def test_what_was_written_is_there(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "j.jsonl"
    write(path)
    with Journal(path) as journal:
        assert {key: journal.get(key) for key in "abcd"} == {**dict(LINES), "d": None}
        assert len(journal) == 3


def test_cut_at_every_byte(tmp_path: Path) -> None:
    """Only whole lines count, and writing goes on behind them."""
    path = tmp_path / "j.jsonl"
    data = write(path)
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with Journal(path) as journal:
            whole = max(data[:length].count(b"\n") - 1, 0)
            assert len(journal) == whole
            journal.add("new", {"text": "x"})
        with Journal(path) as journal:
            assert journal.get("new") == {"text": "x"}
            assert len(journal) == whole + 1


def test_damage_in_the_middle_costs_what_follows(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    lines = write(path).split(b"\n")
    lines[2] = lines[2][:5] + b"\xff" + lines[2][6:]
    path.write_bytes(b"\n".join(lines))
    with Journal(path) as journal:
        assert len(journal) == 1


@pytest.mark.parametrize(
    "values",
    [{}, {"text": 3}, {"likelihoods": "x"}, {"likelihoods": ["x"]}, {"weights": [1]},
     {"weights": [1, "x"]}, {"other": 1}],
)  # fmt: skip
def test_a_line_that_was_changed_is_found_out_again(tmp_path: Path, values: object) -> None:
    path = tmp_path / "j.jsonl"
    write(path)
    changed = json.dumps({"key": "b", **values})  # type: ignore[dict-item]
    path.write_text(path.read_text() + changed + "\n")
    with Journal(path) as journal:
        assert journal.get("b") == dict(LINES)["b"]
    whole = json.dumps({"key": "c", "text": "x"})
    path.write_text(f'{{"trimix-cpp eval": 1}}\n{changed}\n{whole}\n')
    with Journal(path) as journal:
        assert journal.get("b") is None
        assert journal.get("c") == {"text": "x"}


@pytest.mark.parametrize("data", [b"{}\n", b"hello", b'{"trimix-cpp translate": 1}\n', b"\x01"])
def test_another_file_is_left_alone(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "j.jsonl"
    path.write_bytes(data)
    with pytest.raises(TrimixError, match="is no journal of an evaluation"):
        Journal(path)
    assert path.read_bytes() == data


def test_zeros_of_a_power_failure_are_a_new_journal(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    path.write_bytes(b"\0" * 100)
    with Journal(path) as journal:
        assert len(journal) == 0


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    code = (
        "import sys; from pathlib import Path; from trimix_cpp.evaluate.journal import Journal\n"
        "Journal(Path(sys.argv[1]))"
    )
    with Journal(path):
        done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True)
    assert done.returncode != 0
    assert b"another evaluation is writing it" in done.stderr
    with Journal(path) as journal:
        assert len(journal) == 0


@given(st.lists(st.sampled_from([0, 1, "1", None, True, "ئا", [1]]), max_size=3), st.data())
def test_keys_are_of_the_content(parts: list[object], data: st.DataObject) -> None:
    assert key_of(*parts) == key_of(*json.loads(json.dumps(parts)))
    other = data.draw(st.permutations(parts))
    assert (key_of(*parts) == key_of(*other)) is (json.dumps(parts) == json.dumps(other))
