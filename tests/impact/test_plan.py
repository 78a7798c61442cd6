"""`plan`: the best choice against trying all, and the prediction against the measurement."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimix_cpp.commands import main
from trimix_cpp.commands.plan import size
from trimix_cpp.errors import TrimixError, UsageError
from trimix_cpp.fusion.weights import Weights
from trimix_cpp.gguf.reader import read_header
from trimix_cpp.impact.compare import Task, compare_sides, fused_name
from trimix_cpp.impact.evaluator import Evaluator
from trimix_cpp.impact.plan import (
    Choice,
    Choices,
    Effects,
    kv_item,
    make_choices,
    measure_effects,
    write_profile,
)
from trimix_cpp.impact.sides import Side, Workshop
from trimix_cpp.quant.memory import estimate
from trimix_cpp.quant.options import Options
from trimix_cpp.quant.profiles import load_profile
from trimix_cpp.store.spec import TrioSpec

from ..support.cli import trimix
from .test_measure import UYGHUR

ROLES = ("large", "cpt", "base")
TYPES = ("Q8_0", "Q4_0")
WEIGHTS = Weights(0.6, 0.7)


@pytest.fixture(scope="module")
def workshop(tiny_spec: TrioSpec, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tiny_spec, ROLES, tmp_path_factory.mktemp("plan"), lambda _: nullcontext())


@pytest.fixture(scope="module")
def sides(workshop: Workshop) -> dict[str, Side]:
    return {name: workshop.side(name) for name in ("source", *TYPES)}


@pytest.fixture(scope="module")
def evaluator(tiny_spec: TrioSpec) -> Iterator[Evaluator]:
    with Evaluator(tiny_spec.roles, n_ctx=64, n_threads=1) as found:
        yield found


@pytest.fixture(scope="module")
def effects(evaluator: Evaluator, workshop: Workshop, sides: dict[str, Side]) -> Effects:
    source = sides["source"].variants
    versions = {(role, name): sides[name].variants[role] for role in ROLES for name in TYPES}
    versions |= {kv_item(role, "q8_0"): source[role].with_cache("q8_0") for role in ROLES}
    windows = evaluator.windows(UYGHUR * 2, "uig")
    return measure_effects(evaluator, sides["source"], versions, windows, WEIGHTS, workshop.cache)


def test_the_prediction_is_near_the_measurement(
    effects: Effects, evaluator: Evaluator, workshop: Workshop, sides: dict[str, Side]
) -> None:
    windows = evaluator.windows(UYGHUR * 2, "uig")
    for kind in TYPES:
        (found,) = compare_sides(
            evaluator, sides["source"], [sides[kind]], windows, Task(WEIGHTS), workshop.cache
        )
        for role in ROLES:
            assert effects.expected([(role, kind)]) == pytest.approx(
                found.mean_kld(fused_name((role,))), rel=1e-9
            )
        measured = found.mean_kld(fused_name(ROLES))
        together = effects.expected([(role, kind) for role in ROLES])
        # The second order is all there is where errors are small.
        assert together == pytest.approx(measured, rel=0.02 if kind == "Q8_0" else 0.2)


def test_half_the_variance_is_the_kld(effects: Effects) -> None:
    small = [i for i, (_, what) in enumerate(effects.items) if what == "Q8_0"]
    for i in small:
        assert effects.covariance[i, i] / 2 == pytest.approx(effects.main[i], rel=0.05)
    np.testing.assert_allclose(effects.covariance, effects.covariance.T, rtol=1e-9)
    assert np.linalg.eigvalsh(effects.covariance).min() >= -1e-12


def test_what_was_measured_is_not_measured_again(
    effects: Effects, evaluator: Evaluator, workshop: Workshop, sides: dict[str, Side]
) -> None:
    source = sides["source"].variants
    versions = {(role, name): sides[name].variants[role] for role in ROLES for name in TYPES}
    versions |= {kv_item(role, "q8_0"): source[role].with_cache("q8_0") for role in ROLES}
    calls: list[int] = []
    again = measure_effects(
        evaluator,
        sides["source"],
        versions,
        evaluator.windows(UYGHUR * 2, "uig"),
        WEIGHTS,
        workshop.cache,
        progress=lambda done, _: calls.append(done),
    )
    assert not calls
    np.testing.assert_array_equal(again.main, effects.main)
    np.testing.assert_array_equal(again.covariance, effects.covariance)


def plan_for(effects: Effects, sides: dict[str, Side], limit: int) -> Choices:
    headers = {
        (role, name): read_header(sides[name].variants[role].files.path)
        for role in ROLES
        for name in TYPES
    }
    return make_choices(effects, headers, kv_types=("f16", "q8_0"), n_ctx=256, limit=limit)


def test_the_best_choice_is_that_of_trying_all(effects: Effects, sides: dict[str, Side]) -> None:
    plan = plan_for(effects, sides, 0)
    assert len(plan.choices) == len(TYPES) ** 3 * 2
    for choice in plan.choices:
        headers = {r: read_header(sides[k].variants[r].files.path) for r, k in choice.types.items()}
        kv = dict.fromkeys(ROLES, choice.kv)
        needed = estimate(headers, Options(n_ctx=256, type_k=kv, type_v=kv))
        assert choice.memory == needed.total
    sizes = sorted({choice.memory for choice in plan.choices})
    before = float("inf")
    for limit in sizes:
        best = plan_for(effects, sides, limit).best
        fitting = [choice for choice in plan.choices if choice.memory <= limit]
        assert best in fitting
        assert best.expected == min(choice.expected for choice in fitting)
        assert best.expected <= before, "more memory is never worse"
        before = best.expected
    with pytest.raises(TrimixError, match="the smallest choice needs"):
        _ = plan_for(effects, sides, sizes[0] - 1).best


@given(
    st.lists(st.tuples(st.integers(1, 50), st.floats(0, 1)), min_size=1, max_size=30, unique=True),
    st.integers(0, 60),
)
def test_frontier_and_what_is_better(pairs: list[tuple[int, float]], limit: int) -> None:
    choices = [Choice({"large": "Q8_0"}, "f16", memory, kld) for memory, kld in sorted(pairs)]
    plan = Choices(choices, limit)
    for one, other in itertools.pairwise(plan.frontier):
        assert one.memory <= other.memory
        assert one.expected > other.expected
    for choice in choices:
        beaten = any(
            o.memory <= choice.memory and o.expected <= choice.expected for o in plan.frontier
        )
        assert beaten
    if any(choice.memory <= limit for choice in choices):
        better = plan.better
        if better is None:
            assert plan.best.expected == min(choice.expected for choice in choices)
        else:
            assert better.memory > limit
            assert better.expected < plan.best.expected


def test_roles_of_one_file_get_one_type(effects: Effects, sides: dict[str, Side]) -> None:
    plan = make_choices(
        effects,
        {
            (role, name): read_header(sides[name].variants[role].files.path)
            for role in ROLES
            for name in TYPES
        },
        kv_types=("f16",),
        n_ctx=256,
        limit=1 << 40,
        together=[frozenset(("cpt", "base")), frozenset(("large",))],
    )
    assert len(plan.choices) == len(TYPES) ** 2
    assert all(choice.types["cpt"] == choice.types["base"] for choice in plan.choices)


def test_a_profile_is_read_as_it_was_written(tmp_path: Path) -> None:
    choice = Choice({"large": "Q3_K_M", "cpt": "Q8_0"}, "q8_0", 1, 0.1)
    profile = choice.profile("mine", 'with "quotes" and ئۇيغۇرچە', 8.0)
    write_profile(profile, tmp_path / "mine.toml")
    assert load_profile(str(tmp_path / "mine.toml")) == profile
    assert profile.roles["base"].type == "Q8_0"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8GiB", 8 << 30),
        ("8G", 8 << 30),
        ("8gi", 8 << 30),
        ("8 GB", 8 << 30),
        ("900 MiB", 900 << 20),
        ("1.5gb", 3 << 29),
        ("7", 7),
    ],
)
def test_sizes(text: str, value: int) -> None:
    assert size(text, "--ram") == value


@pytest.mark.parametrize(
    "text",
    ["", "GiB", "-1G", "0", "8i", "8 giraffes", "1e9", "8,5GiB", "8GO", "8 ГБ", "٨G", "9" * 5000],
)
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError, match="--ram"):
        size(text, "--ram")


def test_exact_mode_compares_no_caches(
    tiny_files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every cache is q8_0 there: f16 is neither promised nor found to cost nothing."""
    (tmp_path / "text.txt").write_text(UYGHUR, encoding="utf-8")
    models = [part for role, path in tiny_files.items() for part in (f"--{role}", str(path))]
    arguments = ["plan", *models, "--text", str(tmp_path / "text.txt"), "-c", "64", "-t", "1"]
    arguments += ["--weights", "0.6,0.7", "--types", "q8_0", "--cache", str(tmp_path / "cache")]
    arguments += ["--ram", "1GiB", "--exact"]
    assert main([*arguments, "--kv-types", "f16,q8_0"]) == 2
    assert "cannot compare them" in capsys.readouterr().err
    done = trimix(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["best"]["kv"] == "q8_0"
    assert {effect["what"] for effect in document["effects"]} == {"Q8_0"}


@pytest.mark.parametrize(("output", "code"), [(".", 2), ("no/such/folder/mine.toml", 1)])
def test_where_no_profile_can_be_written(
    output: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["plan", "--ram", "1GiB", "--text", "none.txt", "--trio", "demo", "--force"]
    assert main([*arguments, "-o", output]) == code
    assert "folder" in capsys.readouterr().err


def test_the_command_writes_the_profile(
    tiny_files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "text.txt"
    text.write_text(UYGHUR * 2, encoding="utf-8")
    models = [part for role, path in tiny_files.items() for part in (f"--{role}", str(path))]
    output = tmp_path / "mine.toml"
    arguments = [
        "plan",
        *models,
        "--text",
        str(text),
        "-c",
        "64",
        "-t",
        "1",
        "--weights",
        "0.6,0.7",
    ]
    arguments += ["--types", "q8_0,q4_0", "--cache", str(tmp_path / "cache"), "-o", str(output)]
    assert main([*arguments, "--ram", "1GiB", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    best = document["best"]
    assert best["memory"] <= document["limit"] == (1 << 30) * 3 // 4
    assert best["expected KLD"] == pytest.approx(best["measured KLD"], rel=0.1)
    written = load_profile(str(output))
    assert {role: written.roles[role].type for role in ROLES} == best["types"]
    assert main([*arguments, "--ram", "1GiB"]) == 2
    assert "exists already" in capsys.readouterr().err
    assert main([*arguments, "--ram", "1GiB", "--force"]) == 0
    shown = capsys.readouterr().out
    assert "most of it comes from" in shown
    assert main([*arguments, "--ram", "2MiB", "--force"]) == 1
    assert "the smallest choice needs" in capsys.readouterr().err
