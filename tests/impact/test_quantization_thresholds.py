"""No change of llama.cpp, of the converter or of a profile may harm what the profiles promise.

The numbers stand in tests/impact/quantization/thresholds.json;
`python -m tests.impact.quantization_thresholds --write` measures them anew.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from trimix_cpp.quant.profiles import profile_names

from .quantization_thresholds import THRESHOLDS, limits, measure

pytest.importorskip("sacrebleu")

KEPT: dict[str, Any] = json.loads(THRESHOLDS.read_text(encoding="utf-8"))["profiles"]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, float]]:
    return measure(tmp_path_factory.mktemp("impact"))


def test_every_profile_has_thresholds() -> None:
    assert sorted(KEPT) == sorted(profile_names()), (
        "python -m tests.impact.quantization_thresholds --write"
    )


@pytest.mark.parametrize("name", sorted(KEPT))
def test_a_profile_costs_no_more_than_it_did(name: str, found: dict[str, dict[str, float]]) -> None:
    for figure, value in found[name].items():
        kept = KEPT[name][figure]
        assert value <= kept.get("most", value), (figure, kept)
        assert value >= kept.get("least", value), (figure, kept)


def test_limits_follow_from_what_was_measured() -> None:
    for own in KEPT.values():
        for figure, kept in own.items():
            for key, value in limits(figure, kept["measured"]).items():
                assert kept[key] == pytest.approx(value, abs=2e-6), figure


def test_int8_loses_less_than_half_a_percent(found: dict[str, dict[str, float]]) -> None:
    """The paper's claim (INT8 against full precision), for chrF++ and for perplexity."""
    own = found["paper-int8"]
    assert own["chrF++ difference"] > -0.005 * own["chrF++ of the reference"]
    ratios = [value for figure, value in own.items() if figure.startswith("PPL ratio")]
    assert len(ratios) == 2
    assert max(ratios) < 1.005


def test_fewer_bits_cost_more(found: dict[str, dict[str, float]]) -> None:
    """With the weights that the authors publish the profiles are in order."""
    names = [name for name in profile_names() if name != "reference"]
    costs = [found[name]["mean KLD at 0.1, 0.9"] for name in names]
    assert costs == sorted(costs)
