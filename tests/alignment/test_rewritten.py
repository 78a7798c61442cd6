"""Copies of the demo models with other vocabularies: fused exactly, or refused with exit 3."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest

from trimix_cpp.decoding.decoder import Decoder
from trimix_cpp.decoding.text import Text
from trimix_cpp.decoding.trio import Trio
from trimix_cpp.fusion.sampling import Sampler
from trimix_cpp.fusion.weights import Weights
from trimix_cpp.store.spec import RoleSpec, TrioSpec

from ..conftest import QUICK, ROLES
from ..support.cli import trimix
from ..support.rewrite import expanded, padded, permuted

PROMPTS = [
    "Please translate the following English text into Uyghur.\nEnglish: Open the file\nUyghur: ",
    "Uyghur: ھۆججەتنى",
]
JOBS = [
    (Weights(0.7, 0.5), Sampler(), "fused"),
    (Weights(0.3, 0.9), Sampler(), "large"),
    (Weights(0.1, 0.9), Sampler(temperature=0.9, seed=1), "fused"),
]


@pytest.fixture(scope="module")
def copies(demo_files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tmp_path_factory.mktemp("rewritten")
    return {
        "padded": {
            "large": padded(demo_files["large"], folder / "large-padded.gguf", 96),
            "base": padded(demo_files["base"], folder / "base-padded.gguf", 7),
        },
        "permuted": {
            "cpt": permuted(demo_files["cpt"], folder / "cpt-permuted.gguf", 1),
            "base": permuted(demo_files["base"], folder / "base-permuted.gguf", 2),
        },
        "expanded": {
            "cpt": expanded(demo_files["cpt"], folder / "cpt-expanded.gguf", ["qqqqzz", "zzzzqq"])
        },
    }


def texts(spec: TrioSpec) -> list[list[str]]:
    out = []
    with Trio(spec, ROLES, QUICK) as trio:
        for prompt in PROMPTS:
            for weights, sampler, control in JOBS:
                sequence = Text(
                    trio.tokenize(prompt),
                    weights,
                    sampler,
                    control=control,  # type: ignore[arg-type]
                    max_tokens=12,
                )
                (done,) = Decoder(trio).run([sequence])
                out.append([trio.text_of(token) for token in done.tokens])
    return out


@pytest.mark.parametrize("kind", ["padded", "permuted"])
def test_a_rewritten_copy_gives_the_same_text(
    kind: str, copies: dict, demo_spec: TrioSpec, demo_files: dict[str, Path]
) -> None:
    files = {**demo_files, **copies[kind]}
    spec = dataclasses.replace(demo_spec, roles={r: RoleSpec(p) for r, p in files.items()})
    with Trio(spec, ROLES, QUICK) as trio:
        assert trio.alignment.report.verdict == kind
        assert trio.n_tokens == 8192
    assert texts(spec) == texts(demo_spec)


def flags(files: dict[str, Path]) -> list[str]:
    return [part for role, path in files.items() for part in (f"--{role}", str(path))]


@pytest.mark.parametrize("kind", ["padded", "permuted"])
def test_check_lets_it_pass(kind: str, copies: dict, demo_files: dict[str, Path]) -> None:
    done = trimix("check", *flags({**demo_files, **copies[kind]}), "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["verdict"] == kind


def test_an_expanded_large_is_refused(copies: dict, demo_files: dict[str, Path]) -> None:
    """cpt may have more tokens, large may not."""
    files = flags({**demo_files, "large": copies["expanded"]["cpt"]})
    done = trimix("check", *files)
    assert done.returncode == 3
    assert "expanded" in done.stdout
    assert "qqqqzz" in done.stdout
    done = trimix("generate", *files, "--weights", "0.3,0.9", "-p", "a", "-n", "1")
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "qqqqzz" in done.stderr


def test_an_expanded_cpt_is_fused(copies: dict, demo_files: dict[str, Path]) -> None:
    files = flags({**demo_files, **copies["expanded"]})
    assert trimix("check", *files).returncode == 0
    done = trimix(
        "generate", *files, "--weights", "0.3,0.9", "-p", "a", "-n", "3", "-t", "1",
        "--exact-vocabulary", "--json",
    )  # fmt: skip
    assert done.returncode == 0
    assert json.loads(done.stdout)["tokens"] == 3


def test_only_the_roles_in_use_are_compared(copies: dict, demo_files: dict[str, Path]) -> None:
    files = flags({**demo_files, **copies["expanded"]})
    done = trimix("generate", *files, "--weights", "1,0", "-p", "a", "-n", "1", "-t", "1")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(
    "TRIMIX_LLAMA_CPP" not in os.environ,
    reason="TRIMIX_LLAMA_CPP does not name a folder of llama.cpp's sources",
)
@pytest.mark.parametrize("name", ["qwen2", "llama-bpe", "llama-spm", "gemma-4", "gpt-2"])
def test_real_foreign_vocabularies_are_refused(name: str, demo_files: dict[str, Path]) -> None:
    vocab = Path(os.environ["TRIMIX_LLAMA_CPP"]) / "models" / f"ggml-vocab-{name}.gguf"
    done = trimix("check", *flags({**demo_files, "cpt": vocab}))
    assert done.returncode == 3
    assert "different" in done.stdout
