"""The known trios, their order, and which one a language gets."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimix_cpp.errors import TrimixError, UsageError
from trimix_cpp.files.hashing import read_sha256
from trimix_cpp.prompts.languages import language, script_notice
from trimix_cpp.store import home, locked, sha256
from trimix_cpp.store.names import is_repository
from trimix_cpp.store.sources import Repository, Source, is_source, parse_source
from trimix_cpp.store.spec import TrioSpec, load_spec
from trimix_cpp.store.trios import (
    bundled_files,
    entries,
    find_trio,
    known_for_language,
    trio_for_language,
)

KNOWN = [load_spec(file) for file in bundled_files()]
PAPER = [spec for spec in KNOWN if spec.name.startswith("qwen2.5")]
SHORT = {"bod": "bo", "uig": "ug", "kaz": "kk", "mvf": "mn"}
TASKS = {
    *("response_selection", "reading_comprehension", "text_classification"),
    *("title_generation", "math", "translation.X-eng", "translation.eng-X"),
}


@pytest.fixture(autouse=True)
def _empty_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIMIX_HOME", str(tmp_path / "store"))


@pytest.mark.parametrize("spec", KNOWN, ids=lambda spec: spec.name)
def test_known_trios_name_themselves(spec: TrioSpec) -> None:
    assert spec.path is not None
    assert spec.name == spec.path.stem
    assert spec.bundled == (not spec.sources)
    if spec.sources:
        codes = [language(code).code for code in spec.languages]
        assert codes == list(spec.languages)
        if len(codes) == 1:
            assert spec.name.endswith(codes[0])
            assert language(codes[0]).name in spec.description
        assert set(spec.sources) == {"base", "cpt", "large"}
        assert {script for code in codes for script in language(code).scripts} >= set(spec.scripts)
        assert spec.licence
        assert spec.seen or spec.name.startswith(("qwen2.5", "gemma-3"))
        base, large = spec.billions("base"), spec.billions("large")
        assert base is not None
        assert large is not None
        assert base < large


@pytest.mark.parametrize("spec", PAPER, ids=lambda spec: spec.name)
def test_the_published_weights(spec: TrioSpec) -> None:
    """Seven tasks, and pairs from the values that the authors searched."""
    code = spec.languages[0]
    assert {task.replace(code, "X") for task in spec.presets} == TASKS
    for weights in spec.presets.values():
        assert weights.alpha in (0.1, 0.3)
        assert weights.beta in (0.7, 0.9, 1.0)
    small, large = (size.upper() for size in spec.name.split("-")[1:3])
    named = {role: [r.name for r in source.repositories] for role, source in spec.sources.items()}
    instruct = f"Qwen/Qwen2.5-{large}-Instruct"
    assert named == {
        "base": [f"Qwen/Qwen2.5-{small}"],
        "cpt": [f"pkupie/Qwen2.5-{small}-{SHORT[code]}-cpt"],
        "large": [instruct, f"{instruct}-GGUF"],
    }


def test_the_published_weights_in_all() -> None:
    pairs = [weights for spec in PAPER for weights in spec.presets.values()]
    assert len(pairs) == 56
    # alpha + beta = 1, where no base is needed; and those that the authors published most often.
    assert sum("base" not in weights.roles for weights in pairs) == 32
    assert Counter((w.alpha, w.beta) for w in pairs) == {
        (0.1, 0.9): 32,
        (0.1, 1.0): 17,
        (0.3, 0.9): 4,
        (0.3, 1.0): 2,
        (0.1, 0.7): 1,
    }


def test_smaller_trios_come_first_and_the_demo_last() -> None:
    names = [entry.spec.name for entry in known_for_language("uig")]
    assert names == ["qwen2.5-1.5b-7b-uig", "qwen2.5-3b-14b-uig", "gemma-3-4b-12b-uig", "demo"]
    assert [entry.installed for entry in known_for_language("uig")] == [False] * 3 + [True]
    assert trio_for_language("uig", "Uyghur").name == "demo"


@pytest.mark.parametrize("code", ["bod", "kaz", "mvf", "mon", "khk"])
def test_a_trio_that_is_known_names_the_command(code: str) -> None:
    name = language(code).name
    with pytest.raises(TrimixError, match=rf"no trio for {name} .* yet: `trimix-cpp pull --trio q"):
        trio_for_language(code, name)


def test_a_language_that_nobody_knows() -> None:
    with pytest.raises(
        TrimixError, match=r"no trio for Tamil \(tam\) is known .*`trimix-cpp list`"
    ):
        trio_for_language("tam", "Tamil")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("mn", "Mongolian of qwen2.5-1.5b-7b-mvf is in traditional Mongolian script"),
        ("khk", "hardly seen any in Cyrillic script"),
        ("kk", "Kazakh of qwen2.5-1.5b-7b-kaz is in Arabic script"),
        ("mvf", None),
        ("ug", None),
        ("bo", None),
    ],
)
def test_what_a_script_means(code: str, words: str | None) -> None:
    wanted = language(code)
    spec = known_for_language(wanted.code)[0].spec
    notice = script_notice(spec.name, spec.scripts, wanted)
    assert notice is None if words is None else words in str(notice)


def test_unknown_names() -> None:
    with pytest.raises(UsageError, match=r"no trio is called 'x'; `trimix-cpp list`"):
        find_trio("x")
    with pytest.raises(TrimixError, match=r"the trio gemma-3-4b-12b-bod is not installed"):
        find_trio("gemma-3-4b-12b-bod")


def test_the_store_is_where_the_user_wants_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert home() == tmp_path / "store"
    assert len(entries()) == len(KNOWN)
    assert not home().exists()
    monkeypatch.setenv("TRIMIX_HOME", "")
    assert "trimix-cpp" in str(home())
    monkeypatch.setenv("TRIMIX_HOME", "~nobody-is-called-so/store")
    assert home().name == "store"
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TRIMIX_HOME", str(tmp_path / "file"))
    with (
        pytest.raises(TrimixError, match="TRIMIX_HOME names another folder"),
        locked(print),
    ):
        pass


# --- hashes --------------------------------------------------------------------------------------


def test_a_hash_is_remembered_until_the_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model"
    path.write_bytes(b"one")
    os.utime(path, (1e9, 1e9))
    read: list[Path] = []

    def counting(path: Path) -> str:
        read.append(path)
        return read_sha256(path)

    monkeypatch.setattr("trimix_cpp.files.hashing.read_sha256", counting)
    assert sha256(path) == sha256(path) == read_sha256(path)
    assert len(read) == 1
    path.write_bytes(b"two")  # the same size; ctime cannot be set back
    os.utime(path, (1e9, 1e9))
    assert sha256(path) == read_sha256(path)
    # A file that changed a moment ago may change again within the clock's step.
    path.write_bytes(b"six")
    assert [sha256(path), sha256(path)] == [read_sha256(path)] * 2
    assert len(read) == 4


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1}', '{"%s": {"state": 3}}'])
def test_a_broken_cache_of_hashes_is_no_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "model"
    path.write_bytes(b"one")
    cache = home() / "cache/sha256.json"
    cache.parent.mkdir(parents=True)
    cache.write_text(text.replace("%s", str(path)))
    assert sha256(path) == read_sha256(path)


# --- TOML ----------------------------------------------------------------------------------------


@pytest.fixture
def load(tmp_path: Path) -> Callable[[str], TrioSpec]:
    def read(text: str) -> TrioSpec:
        (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
        return load_spec(tmp_path / "mine.toml")

    return read


def test_every_way_to_name_a_model(load: Callable[[str], TrioSpec], tmp_path: Path) -> None:
    spec = load("""
        [models]
        base = { repo = "a/b", revision = "v1" }
        cpt = { lora = { repo = "a/c", revision = "v2" }, scale = 0.5 }
        large = { repo = "a/d", gguf = { repo = "a/e", file = "x-Q4_K_M.gguf" } }
        large_base = "own.gguf"
        [cache]
        type_k = "q8_0"
        type_v = { large = "q4_0" }
    """)
    assert spec.roles["large_base"].path == tmp_path / "own.gguf"
    assert set(spec.roles) == {"large_base"}
    assert spec.sources == {
        "base": Source(Repository("a/b", "v1")),
        "cpt": Source(lora=Repository("a/c", "v2"), lora_scale=0.5),
        "large": Source(Repository("a/d"), Repository("a/e", file="x-Q4_K_M.gguf")),
    }
    assert spec.type_k == dict.fromkeys(("large", "cpt", "base", "large_base"), "q8_0")
    assert spec.type_v == {"large": "q4_0"}


@pytest.mark.parametrize(
    ("models", "words"),
    [
        ('base = { repo = "../x" }', "is no name of a repository"),
        ('base = { repo = "a/b/c" }', "is no name of a repository"),
        ("base = { repo = 3 }", "repo must be text"),
        ('base = { repo = "a/b", path = "x" }', "'path' has no place there"),
        ('base = { repo = "a/b", file = "x" }', "'file' has no place there"),
        ('base = { gguf = "a/b", revision = "x" }', "a revision needs a repo"),
        ('base = { gguf = { repo = "a/b", file = "x.bin" } }', "is no GGUF file"),
        ('base = { gguf = { file = "x.gguf" } }', "a repository is written"),
        ('cpt = { lora = { repo = "a/b" } }', "cpt: a LoRA adapter needs a base to sit on"),
        ('base = { lora = { repo = "a/b" }, repo = "a/c" }', "'repo' has no place there"),
        ('base = "x"\n[cache]\ntype_k = "q9"', "is no KV cache type"),
        ('base = "x"\n[cache]\ntype_k = { small = "f16" }', "is no KV cache type"),
        ('base = "x"\n[cache]\nkeys = "f16"', "holds type_k and type_v"),
        ('base = "x"\n[cache]\ntype_k = 3', "is no KV cache type"),
    ],
)
def test_what_a_trio_may_not_say(load: Callable[[str], TrioSpec], models: str, words: str) -> None:
    with pytest.raises(TrimixError, match=words) as error:
        load("[models]\n" + models)
    assert "\n" not in str(error.value)


values = st.recursive(
    st.text(max_size=8) | st.integers() | st.booleans() | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["repo", "revision", "gguf", "lora", "file", "scale", "path"]), inner
        )
    ),
    max_leaves=6,
)


@given(values)
def test_any_value_of_a_role_is_taken_or_told(value: object) -> None:
    if is_source(value):
        with suppress(ValueError, TypeError):
            for repository in parse_source(json.loads(json.dumps(value))).repositories:
                assert is_repository(repository.name)
