"""Where other programs keep models: Ollama, the Hugging Face cache, llama.cpp, LM Studio.

Hashes are SHA-256. Ollama and the Hugging Face cache name files by them, so that a wanted one is
found without a look at any other; in other folders the size decides what is read.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from ..files import read_sha256

_SHA256 = re.compile("[0-9a-f]{64}")
# Folders of models are a few levels deep.
_DEEPEST = 6
_MAGIC = b"GGUF"


@dataclass(frozen=True)
class Place:
    """A folder of models.

    Attributes:
        program: whose it is, for a person to read.
        folder: where it lies; it may not exist.
        by_hash: a pattern below `folder` with `{}` for a hash; empty where names do not tell it.
    """

    program: str
    folder: Path
    by_hash: str = ""

    def files(self) -> Iterator[Path]:
        """The GGUF files in it, whatever they are called; a split model by its first part."""
        for path in _walk(self.folder):
            named = path.name.endswith(".gguf") or _SHA256.search(path.name)
            later_part = re.search(r"-0*([2-9]|[1-9]\d+)-of-\d+\.gguf$", path.name)
            if named and not later_part and _is_gguf(path):
                yield path

    def of_hash(self, sha256: str, size: int) -> Iterator[Path]:
        """The files in it that may have this hash; only those of that size are read."""
        if self.by_hash:
            found: Iterable[Path] = self.folder.glob(self.by_hash.format(sha256))
        else:
            found = _walk(self.folder)
        for path in found:
            with suppress(OSError):
                fits = path.is_file() and path.stat().st_size == size
                if fits and (self.by_hash or read_sha256(path) == sha256):
                    yield path


def places() -> list[Place]:
    """The folders of other programs on this system, as these programs find them."""
    home, get = Path.home(), os.environ.get
    hub = get("HF_HUB_CACHE") or Path(get("HF_HOME") or home / ".cache" / "huggingface", "hub")
    ollama = [Path(get("OLLAMA_MODELS") or home / ".ollama" / "models")]
    if sys.platform == "linux":  # where its installer's service keeps them
        ollama.append(Path("/usr/share/ollama/.ollama/models"))
    return [
        *(Place("Ollama", folder, "blobs/sha256-{}") for folder in ollama),
        Place("Hugging Face", Path(hub), "models--*/blobs/{}"),
        Place("llama.cpp", Path(get("LLAMA_CACHE") or _caches() / "llama.cpp")),
        Place("LM Studio", home / ".lmstudio" / "models"),
        Place("LM Studio", home / ".cache" / "lm-studio" / "models"),
    ]


def model_files(more: Iterable[Path] = ()) -> Iterator[tuple[Path, str]]:
    """Every GGUF file in the folders of other programs and in `more`, once, and whose it is."""
    seen: set[tuple[int, int]] = set()
    own = (Place("", folder) for folder in more)
    for place in chain(own, places()):
        for path in place.files():
            status = path.stat()
            if (status.st_dev, status.st_ino) not in seen or not status.st_ino:
                seen.add((status.st_dev, status.st_ino))
                yield path, place.program


def find_by_hash(sha256: str, size: int) -> Iterator[tuple[Path, str]]:
    """Files of other programs that may have this hash and size in bytes, and whose they are.

    A name is no proof: `take_over` reads what it takes. Nothing is found for what is no SHA-256.
    """
    if _SHA256.fullmatch(sha256):
        for place in places():
            for path in place.of_hash(sha256, size):
                yield path, place.program


def _caches() -> Path:
    """Where llama.cpp looks for the folder of caches (`fs_get_cache_directory`)."""
    home = Path.home()
    if sys.platform == "darwin":
        return home / "Library" / "Caches"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")


def _walk(folder: Path, depth: int = 0) -> Iterator[Path]:
    """The files below, links among them; folders that are links, or not ours to read, are not."""
    with suppress(OSError):
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            if entry.is_dir(follow_symlinks=False):
                if depth < _DEEPEST:
                    yield from _walk(Path(entry.path), depth + 1)
            elif entry.is_file():
                yield Path(entry.path)


def _is_gguf(path: Path) -> bool:
    with suppress(OSError), open(path, "rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC
    return False
