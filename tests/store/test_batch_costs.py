"""What batches cost: kept by what decides it, and of no harm where the file is damaged."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from trimix_cpp.quant.options import Options
from trimix_cpp.store import batch_costs
from trimix_cpp.store.batch_costs import keep_batch_costs, known_batch_costs
from trimix_cpp.store.root import home
from trimix_cpp.store.spec import RoleSpec, TrioSpec

STEPS = {1: 1.0, 4: 1.37, 16: 3.25}
OPTIONS = Options(n_threads=2)


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIMIX_HOME", str(tmp_path / "home"))


def test_what_is_kept_is_known_for_the_same_kind_of_file(
    tiny_spec: TrioSpec, tmp_path: Path
) -> None:
    assert known_batch_costs(tiny_spec, OPTIONS) == {}
    path = keep_batch_costs(tiny_spec, OPTIONS, {"large": STEPS})
    assert path.parent == home()
    known = known_batch_costs(tiny_spec, OPTIONS)
    assert known["large"] == STEPS
    copy = tmp_path / "under another name.gguf"
    shutil.copyfile(tiny_spec.roles["large"].path, copy)
    assert known_batch_costs(TrioSpec("other", {"large": RoleSpec(copy)}), OPTIONS) == {
        "large": STEPS
    }
    keep_batch_costs(tiny_spec, OPTIONS, {"large": {1: 1.0, 2: 1.5}})
    assert known_batch_costs(tiny_spec, OPTIONS)["large"] == {1: 1.0, 2: 1.5}


@pytest.mark.parametrize(
    "other",
    [
        {"n_threads": 1},
        {"exact": True},
        {"n_gpu_layers": {"large": 0}},
        {"type_k": {"large": "q8_0"}},
    ],
)
def test_another_way_to_run_has_costs_of_its_own(tiny_spec: TrioSpec, other: dict) -> None:
    keep_batch_costs(tiny_spec, OPTIONS, {"large": STEPS})
    assert known_batch_costs(tiny_spec, replace(OPTIONS, **other)) == {}


def test_another_processor_has_costs_of_its_own(
    tiny_spec: TrioSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_batch_costs(tiny_spec, OPTIONS, {"large": STEPS})
    monkeypatch.setattr(batch_costs, "cpu_name", lambda: "another one")
    assert known_batch_costs(tiny_spec, OPTIONS) == {}


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{", '{"a": 3}', "null", '{"KEY": {"1": 0}}', '{"KEY": {"4": 2}}',
     '{"KEY": {"x": 1}}', '{"KEY": {"1": 1, "-3": 1}}', '{"KEY": {"1": 1, "2": 1e999}}'],
)  # fmt: skip
def test_a_damaged_file_is_no_file_and_is_written_anew(tiny_spec: TrioSpec, content: str) -> None:
    path = keep_batch_costs(tiny_spec, OPTIONS, {"large": STEPS})
    (key,) = json.loads(path.read_text())
    path.write_text(content.replace("KEY", key))
    assert known_batch_costs(tiny_spec, OPTIONS) == {}
    keep_batch_costs(tiny_spec, OPTIONS, {"large": STEPS})
    assert known_batch_costs(tiny_spec, OPTIONS)["large"] == STEPS


def test_the_oldest_entries_go(tiny_spec: TrioSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_costs, "_MOST_ENTRIES", 3)
    for threads in range(1, 6):
        keep_batch_costs(tiny_spec, Options(n_threads=threads), {"large": STEPS})
    known = [bool(known_batch_costs(tiny_spec, Options(n_threads=t))) for t in range(1, 6)]
    assert known == [False, False, True, True, True]
