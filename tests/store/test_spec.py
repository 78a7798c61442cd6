"""A trio's TOML by a stranger: read with every value of its type, or refused in one line."""

from __future__ import annotations

from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from hypothesis import given
from hypothesis import strategies as st

from trimix_cpp.errors import TrimixError
from trimix_cpp.store import TrioSpec, load_spec

WRONG = [
    *("presets = 1", "presets = [1]", "presets.a = 1", 'presets.a = ["x", 1]'),
    *("presets.a = [inf, 1]", "presets.a = [1]"),
    *("rank = inf", "rank = nan", "rank = 1.5", 'rank = "1"', "rank = 99999999999999999999"),
    *("weights = 1", "weights = [nan, 0]", "weights = []", "weights = [1e999, 0]"),
    *('languages = "uig"', "languages = [1]", "scripts = 1", "stops = [1]", 'stops = "x"'),
    *("name = 3", 'name = ""', 'name = "a\\u0000b"', "bundled = 1", 'bundled = "no"'),
    *("description = 1", "licence = []", "cache = 1", "cache.type_k = [1]"),
    "cache.type_k.large = 1",
    *("models = 1", "models.large = 1", 'models.large = ""', "models.large.path = 1"),
    *('models.large = "a\\u0000b"', "models.large = {}", "models.large.lora = 1"),
    *('models.large = { path = "a", scale = inf }', 'models.large = { path = "a", scale = "1" }'),
    *('models.large = { repo = "a/b", revision = 1 }', 'models.large = { gguf = 1 }'),
    'models.large = { repo = "../b" }',
    'models.large = { gguf = { repo = "a/b", file = "../x.gguf" } }',
]  # fmt: skip


def written(path: Path, text: str) -> Path:
    good = "" if text.startswith("models") else 'models.large = "large.gguf"\n'
    path.write_text(good + text, encoding="utf-8")
    return path


@pytest.mark.parametrize("text", WRONG)
def test_a_value_of_another_type_is_told(tmp_path: Path, text: str) -> None:
    with pytest.raises(TrimixError, match=r"t\.toml: not a trio: ") as error:
        load_spec(written(tmp_path / "t.toml", text))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) - len(str(tmp_path)) < 300


values = st.recursive(
    st.text(max_size=6) | st.integers() | st.booleans() | st.floats() | st.just(date(2026, 1, 1)),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                [
                    "large",
                    "base",
                    "repo",
                    "gguf",
                    "lora",
                    "file",
                    "scale",
                    "path",
                    "type_k",
                    "type_v",
                ]
            ),
            inner,
            max_size=2,
        )
    ),
    max_leaves=5,
)


@given(
    st.dictionaries(
        st.sampled_from(
            ["name", "description", "languages", "scripts", "licence", "rank", "bundled", "weights",
             "presets", "stops", "cache", "models", "other"]
        ),
        values,
        max_size=3,
    )
)  # fmt: skip
def test_any_table_is_a_trio_or_told(
    tmp_path_factory: pytest.TempPathFactory, table: dict[str, Any]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    with suppress(UnicodeEncodeError):
        path.write_text(tomlkit.dumps({"models": {"large": "large.gguf"}} | table), "utf-8")
        with suppress(TrimixError):
            spec = load_spec(path)
            assert isinstance(spec, TrioSpec)
            assert all(isinstance(text, str) for text in (*spec.languages, *spec.stops, spec.name))
            assert type(spec.rank) is int
            assert type(spec.bundled) is bool
