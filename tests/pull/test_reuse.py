"""What another program has here is linked, not downloaded, if it is what it should be."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from trimix_cpp.store.removal import remove

from ..support.hub_server import Hub
from .store_checks import Puller, assert_whole

NAME = "model.safetensors"


@pytest.fixture
def cached(home: Path, checkpoints: dict[str, Path], tmp_path: Path) -> Path:
    """base's weights as the cache of the Hub's own client holds them."""
    data = (checkpoints["base"] / NAME).read_bytes()
    blob = tmp_path / "hf/hub/models--org--base/blobs" / hashlib.sha256(data).hexdigest()
    blob.parent.mkdir(parents=True)
    blob.write_bytes(data)
    return blob


def test_a_cached_file_is_not_downloaded(
    home: Path, hub: Hub, puller: Puller, cached: Path
) -> None:
    before = cached.read_bytes()
    manifest = puller()
    assert NAME not in hub.fetched("org/base")
    assert NAME in hub.fetched("org/cpt")
    assert any("Hugging Face" in line and str(cached) in line for line in puller.told)  # type: ignore[attr-defined]
    assert_whole(home, manifest)
    remove("tiny", lambda _: None)
    assert cached.read_bytes() == before


def test_with_no_reuse_it_is(home: Path, hub: Hub, puller: Puller, cached: Path) -> None:
    assert_whole(home, puller(reuse=False))
    assert NAME in hub.fetched("org/base")


def test_a_cached_file_that_lies_is_left_and_the_hub_asked(
    home: Path, hub: Hub, puller: Puller, cached: Path
) -> None:
    data = bytearray(cached.read_bytes())
    data[-1] ^= 1
    cached.write_bytes(data)
    assert_whole(home, puller())
    assert NAME in hub.fetched("org/base")
    assert cached.read_bytes() == data
    assert os.stat(cached).st_nlink == 1
