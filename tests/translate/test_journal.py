"""The journal: whatever is left of it, what it says is true, and it can go on."""

from __future__ import annotations

import json
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
from trimix_cpp.translate.journal_lines import as_json, summed
from trimix_cpp.translate.recipe import Recipe
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


@settings(max_examples=examples(80), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), zeros=st.booleans())
def test_damage_costs_the_lines_that_it_touches_and_is_told(
    data: st.DataObject, zeros: bool, tmp_path: Path
) -> None:
    """After a power failure a block may be zeros; a bad disk or an editor may change anything."""
    path = tmp_path / "j"
    whole = write(path)
    begin = len(b'{"trimix-cpp translate": ')
    start = data.draw(st.integers(begin, len(whole) - 1))
    stop = data.draw(st.integers(start + 1, min(start + 300, len(whole))))
    new = bytes(stop - start) if zeros else data.draw(st.binary(min_size=1, max_size=stop - start))
    path.write_bytes(whole[:start] + new + whole[stop:])
    changed = path.read_bytes() != whole
    # A line whose end is gone takes the next one with it.
    touched = range(whole[:start].count(b"\n"), whole[:stop].count(b"\n") + 1)
    with Journal(path, SETTINGS, seed=7) as journal:
        found = {u: journal.done[k] for u in DONE if (k := journal.key(u)) in journal.done}
        assert bool(journal.damaged) == changed or stop == len(whole)
    assert found.items() <= DONE.items()
    assert {i for i, unit in enumerate(DONE, 1) if unit not in found} <= {*touched}
    # It goes on from there, and is whole for whoever reads it again.
    with Journal(path, SETTINGS, seed=7) as journal:
        for unit, outcome in DONE.items():
            journal.add(unit, outcome)
    assert known(path) == DONE


def test_a_line_that_is_damaged_in_the_middle_costs_one_text(tmp_path: Path) -> None:
    path = tmp_path / "j"
    units = {Unit(f"text {i}"): Outcome(f"تېكىست {i}") for i in range(100)}
    whole = write(path, units).split(b"\n")
    whole[10] = whole[10].replace(b"9", b"8", 1)
    path.write_bytes(b"\n".join(whole))
    with Journal(path, SETTINGS, seed=7) as journal:
        assert (len(journal.done), journal.damaged) == (99, 1)


def test_a_damaged_first_line_costs_nothing_even_with_a_random_seed(tmp_path: Path) -> None:
    path = tmp_path / "j"
    path.write_bytes(write(path).replace(b"5e1f", b"5e1e"))
    with Journal(path, SETTINGS, seed=99, keep_seed=True) as journal:
        assert journal.seed == 7
        assert {journal.key(unit) for unit in DONE} == journal.done.keys()
        assert journal.damaged == 1
    with pytest.raises(TrimixError, match="weights"):
        Journal(path, {**SETTINGS, "weights": "alpha 1"}, seed=7)


@pytest.mark.parametrize(
    "content",
    [b"my notes\n", b"{}\n", b"\0\1", b'{"trimix-cpp tra\n', "سالام".encode(), bytes(500)],
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


def test_a_setting_within_a_setting_is_named_alone(tmp_path: Path) -> None:
    path = tmp_path / "j"
    then = {**SETTINGS, "sampler": {"temperature": 0, "top_k": 40}}
    with Journal(path, then, seed=7) as journal:
        journal.add(Unit("Open"), Outcome("ئاچ"))
    now = {**SETTINGS, "sampler": {"temperature": 0.5, "top_k": 40}}
    with pytest.raises(TrimixError, match=r"settings: sampler\.temperature \(0 then, 0\.5 now\);"):
        Journal(path, now, seed=7)


@pytest.mark.parametrize("record", [b"{}", b'{"seed": 7}'])
def test_a_sound_line_that_says_nothing_is_damage(tmp_path: Path, record: bytes) -> None:
    path = tmp_path / "j"
    path.write_bytes(write(path) + summed(record) + b"\n")
    with Journal(path, SETTINGS, seed=7) as journal:
        assert (len(journal.done), journal.damaged) == (len(DONE), 1)


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3),
    st.lists(st.none(), max_size=2), st.dictionaries(st.text(max_size=2), st.none(), max_size=1),
)  # fmt: skip
FIELDS = ("key", "seed", "text", "reasons", "tokens", "weights", "retried", "shots")


@given(st.sampled_from(FIELDS), VALUES, st.booleans())
def test_lines_of_other_types_are_no_lines(field: str, value: object, missing: bool) -> None:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        path = Path(folder) / "j"
        whole = write(path)
        record = json.loads(whole.split(b"\n")[1])
        record.pop("sum")
        record.pop(field) if missing else record.update({field: value})
        path.write_bytes(whole + summed(as_json(record)) + b"\n")
        with Journal(path, SETTINGS, seed=7) as journal:
            assert journal.damaged <= 1
            assert len(journal.done) >= len(DONE)
            assert all(isinstance(outcome, Outcome) for outcome in journal.done.values())


@pytest.mark.parametrize("version", [b"1", b"3", b'"x"', b"null"])
def test_a_journal_of_another_version_is_told(tmp_path: Path, version: bytes) -> None:
    path = tmp_path / "j"
    first, _, rest = write(path).partition(b"\n")
    header = first[: first.rindex(b', "sum"')].replace(b": 2,", b": " + version + b",", 1) + b"}"
    path.write_bytes(summed(header) + b"\n" + rest)
    with pytest.raises(TrimixError, match="another version; --restart"):
        Journal(path, SETTINGS, seed=7)


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
    recipe = Recipe(language("eng"), language("uig"), Weights(0.1, 0.9))

    def now(**options: object) -> dict[str, object]:
        how = Options(**options)  # type: ignore[arg-type]
        return settings_of(recipe, spec, ("large", "cpt"), how, "preset")

    before = now()
    assert now(n_threads=7, n_parallel=9, n_batch=3) == before
    assert now(exact=True) != before
    for name in names:
        (tmp_path / name).write_bytes(b"other")
        assert now() != before, name
        (tmp_path / name).write_bytes(name.encode())
    assert now() == before
