"""Files from the Hugging Face Hub: what a repository holds, and downloads that go on.

huggingface_hub gives the API, the endpoint, the token, the session and the errors. The bytes are
fetched here: its own downloads begin again after an interruption (since 2.x the partial file has a
new name each time), which is nothing for files of several GB over a slow line.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from .. import __version__
from ..errors import TrimixError
from ..files import as_type, read_sha256
from ..showing import Progress
from ..store import Repository
from ..store.manifest import MOST_BYTES
from ..store.names import is_commit, is_file_path, is_repository, is_sha256, require
from .hub_errors import UnfinishedError, explained, passing, retry_after
from .network import endpoint, session

T = TypeVar("T")

_TIMEOUT = 30.0
_CHUNK = 1 << 20
# Seconds before each further try; a server that says Retry-After is taken at its word.
_WAITS = (1, 2, 4, 8, 15)
_LONGEST_WAIT = 60.0


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository: its path there, bytes, and hash.

    `sha256` is known of large files (LFS), `blob_id`, git's hash, of the others.
    """

    path: str
    size: int
    sha256: str | None
    blob_id: str | None

    def __post_init__(self) -> None:
        require(is_file_path(self.path), self.path, "path of a file")
        require(0 <= self.size < MOST_BYTES, self.size, "size of a file")
        require(self.sha256 is None or is_sha256(self.sha256), self.sha256, "SHA-256")
        require(self.blob_id is None or is_commit(self.blob_id), self.blob_id, "hash of git's")


@dataclass(frozen=True)
class Listing:
    """What a repository holds at one commit."""

    name: str
    commit: str
    files: tuple[RemoteFile, ...]

    def __post_init__(self) -> None:
        require(is_repository(self.name), self.name, "repository")
        require(is_commit(self.commit), self.commit, "commit")

    def file(self, path: str) -> RemoteFile:
        """The file at `path`; raises TrimixError where there is none."""
        for file in self.files:
            if file.path == path:
                return file
        raise TrimixError(f"{self.name} has no file {path} (at commit {self.commit[:12]})")


# The part of the Hub's answer that is used, under the Hub's own names.
@dataclass(frozen=True)
class _Lfs:
    sha256: str | None = None


@dataclass(frozen=True)
class _Sibling:
    rfilename: str
    size: int | None = None
    blobId: str | None = None  # noqa: N815
    lfs: _Lfs | None = None


@dataclass(frozen=True)
class _Info:
    sha: str
    siblings: tuple[_Sibling, ...] = ()


class _AdvancedError(Exception):
    """A try failed that had brought something: worth as many tries as ever."""


def list_repository(repository: Repository, tell: Callable[[str], None]) -> Listing:
    """Ask the Hub for the commit that the revision names now, and for its files.

    Files whose paths no system should be given are left out.

    Raises:
        TrimixError: no connection, no such repository or revision, no access to it, or an answer
            that no Hub gives.
    """

    def ask() -> Listing:
        from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

        at = f"/revision/{quote(repository.revision, safe='')}" if repository.revision else ""
        response = session().get(
            f"{endpoint()}/api/models/{repository.name}{at}",
            params={"blobs": "true"},
            headers=build_hf_headers(library_name="trimix-cpp", library_version=__version__),
            timeout=_TIMEOUT,
        )
        hf_raise_for_status(response)
        info = as_type(_document(response.content), _Info)
        files = [_remote_file(s) for s in info.siblings if is_file_path(s.rfilename)]
        return Listing(repository.name, info.sha, tuple(files))

    return _persist(ask, repository.name, repository.revision, None, tell)


def _document(data: bytes) -> Any:
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("an answer that is nested too deeply") from None


def _remote_file(sibling: _Sibling) -> RemoteFile:
    sha256 = sibling.lfs.sha256 if sibling.lfs else None
    return RemoteFile(sibling.rfilename, sibling.size or 0, sha256, sibling.blobId)


def download(
    listing: Listing,
    file: RemoteFile,
    dst: Path,
    tell: Callable[[str], None],
    progress: Progress | None = None,
) -> str:
    """Fetch one file to `dst`, going on from what an earlier try left in `dst.part`.

    `dst` appears once its hash is the one that the Hub tells. Returns its SHA-256.

    Raises:
        TrimixError: it cannot be had, or is not what the Hub says it is.
        OSError: it cannot be written.
    """
    part = dst.with_name(dst.name + ".part")
    part.parent.mkdir(parents=True, exist_ok=True)
    if part.is_symlink():  # whatever put it there, nothing is written through it
        part.unlink()
    resumed = part.exists()
    while True:
        _fetch_all(listing, file, part, tell, progress)
        sha256 = read_sha256(part)
        if _is_right(part, file, sha256):
            break
        part.unlink()
        if not resumed:
            raise TrimixError(
                f"{listing.name}: what came for {file.path} has another hash than the Hub tells; "
                "it was removed, try again"
            )
        tell(f"{file.path}: what an earlier try had left is damaged, fetching it anew")
        resumed = False
    with open(part, "rb+") as written:
        os.fsync(written.fileno())
    os.replace(part, dst)
    return sha256


def _is_right(path: Path, file: RemoteFile, sha256: str) -> bool:
    if file.sha256:
        return sha256 == file.sha256
    if file.blob_id:
        # Git's name for a file's contents; not used against an attacker.
        blob = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
        with open(path, "rb") as data:
            while chunk := data.read(_CHUNK):
                blob.update(chunk)
        return blob.hexdigest() == file.blob_id
    return path.stat().st_size == file.size


def _fetch_all(
    listing: Listing,
    file: RemoteFile,
    part: Path,
    tell: Callable[[str], None],
    progress: Progress | None,
) -> None:
    """Fetch until all is there; every try that brought something earns new tries."""

    def size() -> int:
        return part.stat().st_size if part.exists() else 0

    def fetch() -> None:
        before = size()
        try:
            _fetch(listing, file, part, progress)
        except Exception as error:
            if passing(error) and size() > before:
                raise _AdvancedError from error
            raise

    while True:
        try:
            return _persist(fetch, listing.name, listing.commit, file.path, tell)
        except _AdvancedError:
            tell(f"{file.path}: the connection broke, going on")
            time.sleep(_WAITS[0])


def _fetch(listing: Listing, file: RemoteFile, part: Path, progress: Progress | None) -> None:
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

    have = part.stat().st_size if part.exists() else 0
    if have > file.size:
        part.unlink()
        have = 0
    if have == file.size and part.exists():
        return
    # Unpacked and from the byte that is missing.
    headers = build_hf_headers(library_name="trimix-cpp", library_version=__version__)
    headers["Accept-Encoding"] = "identity"
    if have:
        headers["Range"] = f"bytes={have}-"
    url = hf_hub_url(listing.name, file.path, revision=listing.commit, endpoint=endpoint())
    with session().stream("GET", url, headers=headers, timeout=_TIMEOUT) as response:
        if response.status_code >= 400:
            response.read()
        hf_raise_for_status(response)
        goes_on = response.status_code == 206
        done = have if goes_on else 0
        # Pieces as they come, unbuffered: what has arrived is kept, whatever happens next.
        with open(part, "ab" if goes_on else "wb", buffering=0) as out:
            for chunk in response.iter_bytes():
                done += len(chunk)
                if done > file.size:
                    break
                out.write(chunk)
                if progress:
                    progress(done, file.size)
    if done > file.size:
        part.unlink()
        raise TrimixError(f"{listing.name}: {file.path} is longer than the Hub says; try again")
    if done < file.size:
        raise UnfinishedError


def _persist(
    call: Callable[[], T],
    repository: str,
    revision: str | None,
    file: str | None,
    tell: Callable[[str], None],
) -> T:
    """`call()`, again after what may pass; its errors as one line each.

    Raises:
        TrimixError: it failed for good.
        OSError: the disk's, not the network's.
    """
    for wait in (*_WAITS, None):
        try:
            return call()
        except (TrimixError, _AdvancedError):
            raise
        except Exception as error:
            reason = passing(error)
            if reason is None:
                raise explained(error, repository, revision, file) from error
            if wait is None:
                raise TrimixError(
                    f"{endpoint()}: {reason}; try again later, "
                    "it goes on from what is there already"
                ) from error
            seconds = retry_after(error, wait, _LONGEST_WAIT)
            tell(f"{file or repository}: {reason}; trying again in {seconds:g} s")
            time.sleep(seconds)
    raise AssertionError("unreachable")
