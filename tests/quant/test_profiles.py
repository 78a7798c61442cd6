"""Profiles: those that ship, a user's own, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from trimix_cpp.errors import TrimixError, UsageError
from trimix_cpp.gguf.types import (
    KV_TYPES,
    NEED_IMATRIX,
    TENSORS_NEED_IMATRIX,
    TYPES,
)
from trimix_cpp.quant.profiles import ROLES, Profile, load_profile, profile_names

MINIMAL = '[large]\ntype = "q4_k_m"\n[cpt]\ntype = "Q8_0"\n[base]\ntype = "Q8_0"\n'


def own(folder: Path, text: str) -> Profile:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return load_profile(str(path))


def test_the_shipped_profiles() -> None:
    names = profile_names()
    assert names == ["reference", "paper-int8", "laptop-16gb", "laptop-8gb", "tiny-4gb"]
    profiles = [load_profile(name) for name in names]
    for profile in profiles:
        assert profile.description
        assert set(profile.roles) == set(ROLES)
        assert {profile.type_k, profile.type_v} <= set(KV_TYPES)
        for role in profile.roles.values():
            # A pull must work without an importance matrix.
            assert role.type in set(TYPES) - NEED_IMATRIX - {"COPY"}
            assert not {kind for _, kind in role.tensors} & TENSORS_NEED_IMATRIX
            assert role.imatrix is None
    assert [p.memory_gib for p in profiles] == sorted(
        (p.memory_gib for p in profiles), reverse=True
    )
    assert len({profile.hash() for profile in profiles}) == len(profiles)


def test_a_profile_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "l.gguf").write_bytes(b"matrix")
    text = """
    description = "mine"
    memory_gib = 12.5
    [cache]
    type_k = "q8_0"
    [large]
    type = "iq2_xs"
    output_tensor_type = "q5_k"
    imatrix = "l.gguf"
    [large.tensors]
    'blk\\.0\\.' = "q6_k"
    attn_V = "q4_k"
    [cpt]
    type = "Q8_0"
    token_embedding_type = "f16"
    [base]
    type = "Q6_K"
    """
    profile = own(tmp_path, text)
    large = profile.roles["large"]
    assert (profile.name, profile.memory_gib) == ("mine", 12.5)
    assert (profile.type_k, profile.type_v) == ("q8_0", "f16")
    assert (large.type, large.output_tensor_type) == ("IQ2_XS", "Q5_K")
    # The order counts, and llama-quantize puts patterns into lower case.
    assert large.tensors == ((r"blk\.0\.", "Q6_K"), ("attn_v", "Q4_K"))
    assert large.imatrix == tmp_path / "l.gguf"
    assert profile.roles["large_base"] == large
    assert profile.roles["cpt"].token_embedding_type == "F16"


def test_the_hash_is_of_what_decides_about_the_files(tmp_path: Path) -> None:
    first = own(tmp_path, MINIMAL)
    assert own(tmp_path, 'description = "else"\nmemory_gib = 3\n' + MINIMAL).hash() == first.hash()
    assert own(tmp_path, MINIMAL + '[cache]\ntype_k = "q8_0"\n').hash() != first.hash()
    other = own(tmp_path, MINIMAL + '[base.tensors]\nattn_v = "q4_0"\n')
    assert other.hash() != first.hash()
    assert other.roles["cpt"].hash() == first.roles["cpt"].hash()
    swapped = [
        own(tmp_path, MINIMAL + f'[base.tensors]\n{a} = "q4_0"\n{b} = "q4_0"\n').hash()
        for a, b in (("attn", "ffn"), ("ffn", "attn"))
    ]
    assert swapped[0] != swapped[1]
    (tmp_path / "i.gguf").write_bytes(b"one")
    with_matrix = MINIMAL + 'imatrix = "i.gguf"\n'
    before = own(tmp_path, with_matrix).hash()
    (tmp_path / "i.gguf").write_bytes(b"two")
    assert own(tmp_path, with_matrix).hash() != before
    (tmp_path / "i.gguf").unlink()
    with pytest.raises(TrimixError, match="importance matrix cannot be read"):
        own(tmp_path, with_matrix).hash()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n" + MINIMAL, "unknown key 'x'"),
        (MINIMAL + "bits = 3", "unknown key 'base.bits'"),
        ('[large]\ntype = "Q8_0"\n[cpt]\ntype = "Q8_0"\n', r"no \[base\] table"),
        ("large = 3\n", "large is no table"),
        (MINIMAL.replace("q4_k_m", "q9"), "unknown type 'q9'"),
        (MINIMAL.replace('type = "q4_k_m"', ""), r"\[large\] names no type"),
        (MINIMAL.replace('"q4_k_m"', "4"), "large.type is no string"),
        (MINIMAL + 'output_tensor_type = "Q4_K_M"', "unknown tensor type 'Q4_K_M'"),
        (MINIMAL + '[base.tensors]\n"(" = "q4_0"', "no regular expression"),
        (MINIMAL + '[base.tensors]\n"" = "q4_0"', "is empty"),
        (MINIMAL + '[cache]\ntype_k = "q3"', "unknown KV cache type 'q3'"),
        (MINIMAL + "[cache]\nx = 1", "unknown key 'cache.x'"),
        ("memory_gib = -1\n" + MINIMAL, "not a number of GiB"),
        ("memory_gib = true\n" + MINIMAL, "not a number of GiB"),
        ("[large", "not a readable TOML"),
    ],
)
def test_what_is_no_profile(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TrimixError, match=message) as caught:
        own(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_no_such_profile(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="laptop-8gb"):
        load_profile("laptop")
    with pytest.raises(TrimixError, match="no such profile file"):
        load_profile(str(tmp_path / "none.toml"))
