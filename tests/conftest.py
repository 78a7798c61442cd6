"""Fixtures: tiny random models, and the bundled demo trio."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from trimix_cpp.decoding.trio import Options, Trio
from trimix_cpp.store.spec import RoleSpec, TrioSpec
from trimix_cpp.store.trios import find_trio

from .support.examples import register_profiles
from .support.tiny import write_tiny_model

# In the background of a shell Ctrl-C is ignored, by all children too: tests could not send it.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Threads that wait for others sleep: two workers on two cores would spin in each other's way.
# Read once, when llama.cpp's first threads start, here and in the processes that tests start.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

register_profiles()

ROLES = ("large", "cpt", "base")
# One thread: the models are tiny, and the numbers then do not depend on the machine's load.
QUICK = Options(n_ctx=512, n_threads=1)


@pytest.fixture(scope="session", autouse=True)
def _own_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test sees or changes what is installed on this machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRIMIX_HOME", str(tmp_path_factory.mktemp("store")))
        yield


@pytest.fixture(scope="session")
def tiny_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Three different random models with one vocabulary, as files by role."""
    folder = tmp_path_factory.mktemp("tiny")
    return {
        role: write_tiny_model(
            folder / f"{role}.gguf",
            seed=seed,
            n_embd=96 if role == "large" else 64,
            n_head=3 if role == "large" else 2,
        )
        for seed, role in enumerate(ROLES)
    }


@pytest.fixture(scope="session")
def tiny_spec(tiny_files: dict[str, Path]) -> TrioSpec:
    return TrioSpec("tiny", {role: RoleSpec(path) for role, path in tiny_files.items()})


@pytest.fixture
def tiny_trio(tiny_spec: TrioSpec) -> Iterator[Trio]:
    with Trio(tiny_spec, ROLES, QUICK) as trio:
        yield trio


@pytest.fixture(scope="session")
def demo_spec() -> TrioSpec:
    return find_trio("demo")


@pytest.fixture(scope="session")
def demo_files(demo_spec: TrioSpec) -> dict[str, Path]:
    return {role: demo_spec.roles[role].path for role in ROLES}


@pytest.fixture
def demo_trio(demo_spec: TrioSpec) -> Iterator[Trio]:
    with Trio(demo_spec, ROLES, QUICK) as trio:
        yield trio
