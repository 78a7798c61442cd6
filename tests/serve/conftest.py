"""One server on the bundled trio for all tests that do not need one of their own."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import openai
import pytest

import trimix_cpp

from ..support.serving import Server, serving

# Exact: what runs besides changes nothing.
ARGUMENTS = ("--trio", "demo", "-t", "1", "-c", "512", "-np", "4", "--exact")


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with serving(*ARGUMENTS) as server:
        yield server


@pytest.fixture(scope="session")
def http(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def sdk(server: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(scope="session")
def trio() -> Iterator[trimix_cpp.api.TriMix]:
    """The same trio in this process: what the commands are made of."""
    with trimix_cpp.load("demo", exact=True, n_threads=1, n_ctx=512) as trio:
        yield trio
