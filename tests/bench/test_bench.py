"""`bench`: what it measures is what the decoder does, and simulated drafts are right as often."""

from __future__ import annotations

import csv
import json
import re
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimix_cpp.bench.calibrate import CALIBRATED
from trimix_cpp.bench.measure import Bench, Sample, Simulated, Workload
from trimix_cpp.bench.report import FORMATS, acceptance, document, peak_memory, ratios, shares
from trimix_cpp.decoding.decoder import Decoder
from trimix_cpp.decoding.text import Text
from trimix_cpp.decoding.trio import Options, Trio
from trimix_cpp.fusion.sampling import Sampler
from trimix_cpp.fusion.weights import Weights
from trimix_cpp.store.spec import TrioSpec

from ..conftest import ROLES
from ..decoding.test_decoder import TIBETAN, UYGHUR
from ..support.cli import trimix

PLAN = Workload(
    Weights(0.3, 0.9),
    n_prompt=8,
    n_gen=12,
    depth=6,
    repetitions=2,
    batches=(1, 3),
    drafts=(3, None),
)


def options(plan: Workload) -> Options:
    return Options(
        n_ctx=plan.n_ctx, n_threads=1, n_parallel=plan.n_parallel, n_outputs=plan.n_outputs
    )


def bench(spec: TrioSpec, plan: Workload, texts: tuple[str, ...] = ()) -> tuple[dict, dict]:
    """Samples, and the document made of them."""
    with Trio(spec, ROLES, options(plan)) as trio:
        samples = Bench(trio, plan, [trio.tokenize(text) for text in texts]).run()
        return samples, document(samples, plan, trio, {"trio": "tiny", "machine": MACHINE})


MACHINE = {
    "cpu": "a|b", "cores": 1, "threads": 1, "memory_gib": 1.0, "system": "", "load": 0.0,
    "llama_cpp_python": "", "repacked_weights": False, "date": "",
}  # fmt: skip


@pytest.mark.parametrize("rate", [0.0, 0.5, 1.0])
def test_simulated_drafts_are_right_as_often_as_stated(tiny_spec: TrioSpec, rate: float) -> None:
    plan = replace(PLAN, drafts=(3,), acceptance=rate, n_gen=200, repetitions=1, batches=())
    samples, _ = bench(tiny_spec, plan)
    (run,) = samples["draft 3"]
    assert run.tokens >= plan.n_gen
    assert acceptance(samples)["3"] == pytest.approx(rate, abs=0.1 if 0 < rate < 1 else 1e-9)
    rounds = run.counts["compared"] - run.counts["accepted"] if rate == 0 else None
    assert rounds is None or rounds >= run.tokens - 1  # one token a round


def test_measuring_changes_no_token(tiny_spec: TrioSpec) -> None:
    with Trio(tiny_spec, ROLES, options(PLAN)) as trio:
        texts = []
        prompt = (trio.tokenize(UYGHUR + TIBETAN) * 2)[:20]
        for sampler in (Sampler(), Simulated()):
            text = Text(prompt, PLAN.weights, sampler, max_tokens=20)
            (done,) = Decoder(trio, keep=False).run([text])
            texts.append(done.tokens)
        assert texts[0] == texts[1]


def test_every_test_runs_in_every_repetition_and_leaves_nothing_behind(
    tiny_spec: TrioSpec,
) -> None:
    with Trio(tiny_spec, ROLES, options(PLAN)) as trio:
        runs = Bench(trio, PLAN, [trio.tokenize(UYGHUR)[:20]])
        assert list(runs.run()) == list(runs.tests())
        samples = runs.run()  # again on the same caches
        assert {len(own) for own in samples.values()} == {PLAN.repetitions}
        assert not runs.decoder.running
        for slot in range(1, trio.n_parallel):
            assert all(trio.context(role).last_position(slot) == -1 for role in ROLES)
    names = {f"{kind} {role}" for kind in ("prompt", "step") for role in (*ROLES, "fused")}
    assert names < set(samples)
    assert {"text large", "text fused", "draft 3", "draft auto", "batch 1", "batch 3"} < set(
        samples
    )


def test_the_parts_of_a_step_add_up(tiny_spec: TrioSpec) -> None:
    samples, found = bench(tiny_spec, PLAN)
    for run in samples["step fused"]:
        assert sum(run.counts.values()) == pytest.approx(run.seconds)
        assert min(run.counts.values()) > 0
    assert sum(shares(samples).values()) == pytest.approx(1, abs=0.05)
    assert found["memory"]["peak"] <= peak_memory()


@given(st.lists(st.tuples(st.floats(0.1, 9), st.floats(0.1, 9)), min_size=1, max_size=9))
def test_ratios_are_taken_within_a_repetition(times: list[tuple[float, float]]) -> None:
    """However slow a repetition was, what takes half the time in it is twice as fast."""
    slow = [Sample(seconds * drift, 10) for seconds, drift in times]
    fast = [Sample(run.seconds / 2 * 3, 30) for run in slow]
    parts = {f"step {role}": slow for role in ROLES}
    samples = {**parts, "step fused": fast, "draft 3": slow, "batch 1": slow, "batch 2": fast}
    found = {(r.what, r.than): r.spread for r in ratios(samples, PLAN)}
    expected = {
        ("plain fused stepping", "the sum of its parts"): 6,
        ("plain fused stepping", "large alone"): 2,
        ("fused with drafts: 3", "large alone"): 1,
        ("fused with drafts: 3", "plain stepping"): 0.5,
        ("1 sequences at once", "one"): 1,
        ("2 sequences at once", "one"): 2,
    }
    assert set(found) == set(expected)
    for key, value in expected.items():
        assert found[key].least == pytest.approx(value), key
        assert found[key].most == pytest.approx(value), key


def test_all_formats_tell_the_same(tiny_spec: TrioSpec) -> None:
    samples, found = bench(tiny_spec, replace(PLAN, acceptance=0.9))
    assert json.loads(FORMATS["json"](found)) == found
    rows = list(csv.DictReader(FORMATS["csv"](found).splitlines()))
    assert len(rows) == len(found["ratios"]) + len(found["tests"])
    tests = {row["name"]: row for row in rows if row["kind"] == "tokens_per_second"}
    assert set(tests) == set(samples)
    for entry in found["tests"]:
        assert float(tests[entry["test"]]["median"]) == entry["tokens_per_second"]
    text = FORMATS["md"](found)
    assert "0.9" in text
    assert "simulated" in text
    tables = [part.splitlines() for part in text.split("\n\n") if part.startswith("|")]
    assert [len(table) - 2 for table in tables] == [len(found["ratios"]), len(found["tests"])]
    for table in tables:
        assert len({len(line) for line in table}) == 1


def test_the_command_measures_random_models(tmp_path: Path) -> None:
    arguments = ["bench", "--shapes", "tiny-a+tiny-b", "-t", "1", "-r", "1", "-n", "4", "-p", "4"]
    types = ["--types", "large=Q4_0,cpt=Q8_0,base=F16", "--weights", "0.1,0.9"]
    done = trimix(*arguments, *types, "--json", env={"TMPDIR": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    # base takes no part at alpha + beta = 1, and is not loaded.
    assert list(found["models"]) == ["large", "cpt"]
    assert found["acceptance"]["simulated"] == 0.9
    assert not list(tmp_path.iterdir())  # nothing is left behind


def test_what_batches_cost_is_measured_kept_and_gone_by(
    demo_spec: TrioSpec, tmp_path: Path
) -> None:
    home = {"TRIMIX_HOME": str(tmp_path)}
    done = trimix("bench", "--calibrate", "--trio", "demo", "-t", "1", "--json", env=home)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["steps"].keys() == set(ROLES)
    for steps in found["steps"].values():
        assert list(map(int, steps)) == list(CALIBRATED)
        assert steps["1"] == 1
        assert min(steps.values()) > 0
    kept = json.loads(Path(found["file"]).read_text())
    assert len(kept) == 2  # base and cpt are of one kind
    assert found["steps"]["large"] in kept.values()


def test_the_command_measures_the_bundled_trio_with_its_own_drafts(tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("ھۆججەت ئېچىش\n\nབོད་སྐད་\n", encoding="utf-8")
    done = trimix(
        "bench", "--trio", "demo", "-t", "1", "-r", "1", "-n", "6", "-p", "0", "--drafts", "2",
        "--batches", "off", "-f", str(prompts), "-o", "csv",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    names = [row["name"] for row in csv.DictReader(done.stdout.splitlines())]
    assert {"text large", "text fused", "draft 2"} <= set(names)
    assert not any(re.match("prompt|batch", name) for name in names)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--shapes", "qwen2.5-1.5b+8b"], "no shapes"),
        (["--shapes", "tiny-a+tiny-b", "--lang", "uig"], "--lang"),
        (["--shapes", "tiny-a+tiny-b", "--types", "large=Q9"], "Q9"),
        (["--lang", "uig", "--types", "Q8_0"], "--shapes"),
        (["--trio", "demo", "--weights", "ppl"], "fixed pair"),
        (["--trio", "demo", "--weights", "much"], "--weights"),
        (["--trio", "demo", "--batches", "0"], "--batches"),
        (["--trio", "demo", "--drafts", "many"], "--drafts"),
        (["--trio", "demo", "-c", "64"], "-c 64"),
        ([], "name the models"),
    ],
)
def test_wrong_usage_is_told_in_one_line(arguments: list[str], words: str) -> None:
    done = trimix("bench", *arguments, env={"TMPDIR": tempfile.gettempdir()})
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
