"""The journal: whatever is left of it, what it says is true, and it can go on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trimix_cpp.decoding.trio import Options
from trimix_cpp.errors import TrimixError
from trimix_cpp.fusion.weights import Weights
from trimix_cpp.prompts.languages import language
from trimix_cpp.store.spec import RoleSpec, TrioSpec
from trimix_cpp.translate.job import settings_of
from trimix_cpp.translate.journal import Journal
from trimix_cpp.translate.task import Task
from trimix_cpp.translate.units import Outcome, Unit

from ..support.examples import examples

SETTINGS = {"models": {"large": "5e1f"}, "weights": "alpha 0.9, beta 0.3", "exact": True}
DONE = {
    Unit("Open file"): Outcome("ھۆججەت ئاچ", (), 5, Weights(0.9, 0.3)),
    Unit("Save %s", frozenset({"c-format"}), True): Outcome(
        "", ("is empty",), 2, Weights(0.9, 0.3), True
    ),
    Unit("བོད་ཡིག།"): Outcome(
        "a \u2028 b\t", ("loses %s", "is odd"), 400, Weights(1 / 3, 0.1), False, 5
    ),
    Unit("too long"): Outcome(None, ("is too long for a context of 64 tokens",)),
}


def write(path: Path, done: Mapping[Unit, Outcome] = DONE) -> bytes:
    path.unlink(missing_ok=True)
    with Journal(path, SETTINGS, seed=7) as journal:
        for unit, outcome in done.items():
            journal.add(unit, outcome)
    return path.read_bytes()


def known(path: Path) -> dict[Unit, Outcome]:
    with Journal(path, SETTINGS, seed=7) as journal:
        return {
            unit: journal.done[key] for unit in DONE if (key := journal.key(unit)) in journal.done
        }


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    write(tmp_path / "j")
    assert known(tmp_path / "j") == DONE


def test_cut_at_any_byte_it_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    path = tmp_path / "j"
    two = dict(list(DONE.items())[:2])
    whole = write(path, two)
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        with Journal(path, SETTINGS, seed=7) as journal:
            complete = sum(end <= length for end in ends[1:])
            assert len(journal.done) == complete
            for unit, outcome in two.items():
                found = journal.done.get(journal.key(unit))
                assert found in (outcome, None)
                if found is None:
                    journal.add(unit, outcome)
        assert path.read_bytes() == whole


@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_torn_block_costs_what_follows_and_nothing_else(
    data: st.DataObject, tmp_path: Path
) -> None:
    """After a power failure the end may be zeros, or some of it may be."""
    path = tmp_path / "j"
    whole = write(path)
    start = data.draw(st.integers(0, len(whole) - 1))
    stop = data.draw(st.integers(start + 1, len(whole)))
    path.write_bytes(whole[:start] + bytes(stop - start) + whole[stop:])
    if 0 < start < 20 and stop < len(whole):
        return  # then it does not begin like a journal any more, and is left alone
    try:
        found = known(path)
    except TrimixError:
        assert start < whole.index(b"\n")
        return
    assert found.items() <= DONE.items()
    assert len(found) >= max(0, whole[:start].count(b"\n") - 1)


@pytest.mark.parametrize(
    "content", [b"my notes\n", b"{}\n", b"\x00\x01", b'{"trimix-cpp tra\n', "سالام".encode()]
)
def test_a_file_that_is_no_journal_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "j"
    path.write_bytes(content)
    for restart in (False, True):
        with pytest.raises(TrimixError, match="no journal"):
            Journal(path, SETTINGS, seed=7, restart=restart)
    assert path.read_bytes() == content


def test_other_settings_are_named_and_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "j"
    before = write(path)
    other = {**SETTINGS, "weights": "alpha 0.1, beta 0.9"}
    with pytest.raises(TrimixError, match=r"weights \(alpha 0\.9.* then, alpha 0\.1.* --restart"):
        Journal(path, other, seed=7)
    with pytest.raises(TrimixError, match=r"seed \(7 then, 8 now\)"):
        Journal(path, SETTINGS, seed=8)
    assert path.read_bytes() == before
    with Journal(path, other, seed=8, restart=True) as journal:
        assert journal.done == {}
        journal.add(Unit("Open"), Outcome("ئاچ"))
    with Journal(path, other, seed=8) as journal:
        assert journal.seed == 8


def test_a_journal_in_which_nothing_is_finished_is_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "j"
    whole = write(path)
    path.write_bytes(whole[: whole.index(b"\n") + 1])
    with Journal(path, {"weights": "other"}, seed=8) as journal:
        assert (journal.seed, journal.done) == (8, {})
    assert not path.exists(), "and it leaves nothing behind"


def test_a_random_seed_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "j"
    write(path)
    with Journal(path, SETTINGS, seed=99, keep_seed=True) as journal:
        assert journal.seed == 7
        assert len(journal.done) == len(DONE)


def test_the_key_tells_units_settings_and_seeds_apart(tmp_path: Path) -> None:
    units = [*DONE, Unit("Save %s"), Unit("Save %s", frozenset(), True), Unit("open file")]
    keys = set()
    for i, (chosen, seed) in enumerate([(SETTINGS, 7), (SETTINGS, 8), ({"exact": False}, 7)]):
        with Journal(tmp_path / str(i), chosen, seed=seed) as journal:
            keys |= {journal.key(unit) for unit in units}
    assert len(keys) == 3 * len(units)


def test_lines_changed_by_hand_are_told(tmp_path: Path) -> None:
    path = tmp_path / "j"
    whole = write(path)
    path.write_bytes(whole + b'{"text": "a"}\n')
    with pytest.raises(TrimixError, match="--restart"):
        Journal(path, SETTINGS, seed=7)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
def test_a_disk_that_fills_up_is_one_line_and_keeps_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "j"
    whole = write(path)
    path.unlink()
    code = (
        "import resource, sys\n"
        "sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path\n"
        "from tests.translate.test_journal import write\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))\n"
        "write(Path(sys.argv[3]))\n"
    )
    root = str(Path(__file__).parents[2])
    for limit in (len(whole) // 2, len(whole) - 1):
        done = subprocess.run(
            [sys.executable, "-c", code, str(limit), root, str(path)],
            capture_output=True, text=True, env={**os.environ, "PYTHONUTF8": "1"},
        )  # fmt: skip
        last = done.stderr.splitlines()[-1]
        assert "TrimixError" in last
        assert "File too large" in last
        assert "same command" in last
        assert path.stat().st_size == limit
        assert known(path).items() <= DONE.items()


def test_each_line_is_json_that_reads_as_it_is(tmp_path: Path) -> None:
    lines = write(tmp_path / "j").decode("utf-8").split("\n")[:-1]
    assert len(lines) == 1 + len(DONE)
    assert json.loads(lines[0])["settings"] == SETTINGS
    assert "ھۆججەت ئاچ" in lines[1]


def test_the_settings_know_every_file_of_the_models(tmp_path: Path) -> None:
    """Parts of a split model and adapters too; how many threads there are decides nothing."""
    names = ("large-00001-of-00002.gguf", "large-00002-of-00002.gguf", "cpt.gguf", "lora.gguf")
    for name in names:
        (tmp_path / name).write_bytes(name.encode())
    roles = {
        "large": RoleSpec(tmp_path / names[0]),
        "cpt": RoleSpec(tmp_path / "cpt.gguf", tmp_path / "lora.gguf"),
    }
    spec = TrioSpec("mine", roles)
    task = Task(language("eng"), language("uig"), Weights(0.1, 0.9))

    def now(**options: object) -> dict[str, object]:
        how = Options(**options)  # type: ignore[arg-type]
        return settings_of(task, spec, ("large", "cpt"), how, "preset")

    before = now()
    assert now(n_threads=7, n_parallel=9, n_batch=3) == before
    assert now(exact=True) != before
    for name in names:
        (tmp_path / name).write_bytes(b"other")
        assert now() != before, name
        (tmp_path / name).write_bytes(name.encode())
    assert now() == before
