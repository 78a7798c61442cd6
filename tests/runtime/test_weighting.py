"""`--weights`, `--task`, `--method`, `--draft` and their like: what they mean, and identities."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trimix_cpp.errors import UsageError
from trimix_cpp.fusion.weights import METHODS, Plausibility, Weights
from trimix_cpp.quant.options import Options
from trimix_cpp.runtime import DraftFlags, WeightFlags, Weighting
from trimix_cpp.store.spec import RoleSpec, TrioSpec

from ..support.cli import trimix

SPEC = TrioSpec(
    "s",
    {"large": RoleSpec(Path("l.gguf"))},
    weights=Weights(0.3, 0.9),
    presets={"translation.eng-uig": Weights(0.5, 0.7)},
)
PROMPT = "Please translate the following English text into Uyghur.\nEnglish: Open\nUyghur: "


def resolved(**flags: Any) -> Weighting:
    return WeightFlags(**flags).resolve(SPEC)


def test_fixed_and_preset() -> None:
    assert resolved() == Weighting(Weights(0.3, 0.9))
    assert resolved(task="translation.eng-uig") == Weighting(Weights(0.5, 0.7))
    assert resolved(weights="0.1,0.9") == Weighting(Weights(0.1, 0.9))
    assert resolved(weights="0.1,0.9,0.4").weights.gamma == 0.4


def test_methods_are_the_coefficients_of_the_design() -> None:
    expected = {
        "trimix": {"large": 0.3, "cpt": 0.9, "base": -0.2},
        "proxy": {"large": 1, "cpt": 1, "base": -1},
        "contrastive": {"cpt": 1.5, "base": -0.5},
        "large": {"large": 1},
        "cpt": {"cpt": 1},
        "base": {"base": 1},
        "no-task": {"cpt": 0.9, "base": -0.2, "large_base": 0.3},
        "no-language": {"large": 0.3, "base": 0.7},
        "no-scaling": {"large": 0.3, "cpt": 0.9, "base": 0.1, "large_base": -0.3},
    }
    assert set(expected) == set(METHODS)
    for method, coefficients in expected.items():
        assert resolved(method=method).weights.coefficients == coefficients
    assert resolved(method="contrastive").plausibility == Plausibility("cpt", 0.1)
    assert resolved(method="contrastive", plausibility="off").plausibility is None
    assert resolved(plausibility="large=0.2").plausibility == Plausibility("large", 0.2)
    assert resolved(method="contrastive", strength=0.2).weights.beta == 1.2


@pytest.mark.parametrize("how", ["ppl", "ppl-opt", "ppl-answers", "ent"])
def test_choosers_need_all_roles_of_their_plane(how: str) -> None:
    assert resolved(weights=how).roles == ("large", "cpt", "base")
    assert set(resolved(weights=how, method="no-task").roles) == {"cpt", "base", "large_base"}
    assert "large_base" in resolved(weights=how, method="no-scaling").roles
    assert resolved(weights=how).weights == SPEC.weights


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        ({"weights": "a,b"}, "weights are two numbers"),
        ({"weights": "0.1"}, "weights are two numbers"),
        ({"task": "cooking"}, "translation.eng-uig"),
        ({"task": "translation.eng-uig", "weights": "ppl"}, "--weights preset"),
        ({"method": "proxy", "weights": "0.3,0.9"}, "leave --weights out"),
        ({"method": "no-language", "weights": "ppl-opt"}, "no beta"),
        ({"plausibility": "cpt"}, "ROLE=NUMBER"),
        ({"plausibility": "cpt=2"}, "at most 1"),
        ({"plausibility": "all=0.1"}, "roles are"),
    ],
)
def test_what_means_nothing_is_wrong_usage(flags: dict[str, str], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        resolved(**flags)


def test_draft_options() -> None:
    spec, none = DraftFlags().resolve(SPEC, Options())
    assert (spec, none) == (SPEC, None)
    _, auto = DraftFlags("auto").resolve(SPEC, Options())
    assert auto is not None
    assert auto.depth is None
    spec, fixed = DraftFlags("3", Path("d.gguf")).resolve(SPEC, Options())
    assert fixed is not None
    assert (fixed.depth, fixed.most, fixed.draft_role) == (3, 3, "draft")
    assert spec.roles["draft"].path == Path("d.gguf")
    for flags in (("nine", None), ("99", None), ("-1", None), ("off", Path("d.gguf"))):
        with pytest.raises(UsageError):
            DraftFlags(*flags).resolve(SPEC, Options())


def generate(*arguments: str, files: dict[str, Path]) -> dict[str, Any]:
    models = [f"--{role}={path}" for role, path in files.items()]
    done = trimix("generate", *models, "-p", PROMPT, "-n", "6", "-t", "1", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_a_chosen_pair_is_the_fixed_pair(demo_files: dict[str, Path]) -> None:
    """What `--weights ppl` chooses and says gives the same text when it is given."""
    chosen = generate("--weights", "ppl", files=demo_files)
    pair = "{alpha},{beta}".format(**chosen["weights"])
    fixed = generate("--weights", pair, files=demo_files)
    assert chosen["weights"] == fixed["weights"]
    assert chosen["text"] == fixed["text"]


def test_ablations_run_with_a_large_base(demo_files: dict[str, Path]) -> None:
    """With large itself as large_base there is no task vector: leaving it out changes nothing."""
    files = {**demo_files, "large-base": demo_files["large"]}
    whole = generate("--weights", "0.3,0.9", files=files)
    without = generate("--weights", "0.3,0.9", "--method", "no-task", files=files)
    assert without["text"] == whole["text"]
    assert without["weights"] == {"alpha": 0, "beta": 0.9, "gamma": 0.3}


@pytest.mark.parametrize("draft", ["2", "auto"])
def test_drafting_from_the_command_line(demo_files: dict[str, Path], draft: str) -> None:
    drafted = generate("--weights", "0.1,0.9", "--draft", draft, "--exact", files=demo_files)
    plain = generate("--weights", "0.1,0.9", "--exact", files=demo_files)
    assert (drafted["text"], drafted["stop"]) == (plain["text"], plain["stop"])


def test_a_raw_prompt_does_not_say_what_its_answers_are() -> None:
    done = trimix("generate", "--trio", "demo", "-p", "a", "-n", "1", "--weights", "ppl-answers")
    assert (done.returncode, done.stdout) == (2, "")
    assert "does not say which of it are answers" in done.stderr
    done = trimix("translate", "-", "--from", "eng", "--to", "uig", "--weights", "ppl-answers")
    assert (done.returncode, done.stdout) == (2, "")
    assert "give --shots FILE" in done.stderr
