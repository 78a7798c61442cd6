"""One server on the bundled trio for all tests that do not need one of their own."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import openai
import pytest

from ..support.serving import Server, serving
from .exact_trio import ExactTrio

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
def trio() -> Iterator[ExactTrio]:
    """The same trio without a server: what the commands are made of."""
    with ExactTrio() as trio:
        yield trio
