"""Files from the Hugging Face Hub: what a repository holds, and downloads that go on.

huggingface_hub gives the API, the endpoint, the token, the session and the errors. The bytes are
fetched here: its own downloads begin again after an interruption (since 2.x the partial file has a
new name each time), which is nothing for files of several GB over a slow line.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from .. import __version__
from ..errors import TrimixError
from ..files import read_sha256
from ..showing import Progress
from ..store import Repository

T = TypeVar("T")

_TIMEOUT = 30.0
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


@dataclass(frozen=True)
class Listing:
    """What a repository holds at one commit."""

    name: str
    commit: str
    files: tuple[RemoteFile, ...]

    def file(self, path: str) -> RemoteFile:
        """The file at `path`; raises TrimixError where there is none."""
        for file in self.files:
            if file.path == path:
                return file
        raise TrimixError(f"{self.name} has no file {path} (at commit {self.commit[:12]})")


class _UnfinishedError(Exception):
    """The connection ended before the file did."""


class _AdvancedError(Exception):
    """A try failed that had brought something: worth as many tries as ever."""


def list_repository(repository: Repository, tell: Callable[[str], None]) -> Listing:
    """Ask the Hub for the commit that the revision names now, and for its files.

    Raises:
        TrimixError: no connection, no such repository or revision, or no access to it.
    """
    import huggingface_hub

    def ask() -> Any:
        api = huggingface_hub.HfApi(
            _endpoint(), library_name="trimix-cpp", library_version=__version__
        )
        return api.model_info(
            repository.name, revision=repository.revision, files_metadata=True, timeout=_TIMEOUT
        )

    info = _persist(ask, repository.name, repository.revision, None, tell)
    files = tuple(
        RemoteFile(
            path=sibling.rfilename,
            size=int(sibling.size or 0),
            sha256=sibling.lfs.sha256 if sibling.lfs else None,
            blob_id=sibling.blob_id,
        )
        for sibling in info.siblings or ()
    )
    return Listing(repository.name, str(info.sha), files)


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
    if file.blob_id and len(file.blob_id) == 40:
        data = path.read_bytes()  # git keeps only small files
        # Git's name for a file's contents; not used against an attacker.
        blob = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False)
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
            if _passing(error) and size() > before:
                raise _AdvancedError from error
            raise

    while True:
        try:
            return _persist(fetch, listing.name, listing.commit, file.path, tell)
        except _AdvancedError:
            tell(f"{file.path}: the connection broke, going on")
            time.sleep(_WAITS[0])


def _fetch(listing: Listing, file: RemoteFile, part: Path, progress: Progress | None) -> None:
    from huggingface_hub import get_session, hf_hub_url
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
    url = hf_hub_url(listing.name, file.path, revision=listing.commit, endpoint=_endpoint())
    with get_session().stream("GET", url, headers=headers, timeout=_TIMEOUT) as response:
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
        raise _UnfinishedError


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
    """
    for wait in (*_WAITS, None):
        try:
            return call()
        except (TrimixError, _AdvancedError):
            raise
        except Exception as error:
            reason = _passing(error)
            if reason is None:
                raise _explained(error, repository, revision, file) from error
            if wait is None:
                raise TrimixError(
                    f"{_endpoint()}: {reason}; try again later, "
                    "it goes on from what is there already"
                ) from error
            seconds = _retry_after(error, wait)
            tell(f"{file or repository}: {reason}; trying again in {seconds:g} s")
            time.sleep(seconds)
    raise AssertionError("unreachable")


def _passing(error: Exception) -> str | None:
    """What went wrong where another try may help, else None."""
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, _UnfinishedError):
        return "the connection ended early"
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        return f"the Hub answers {status}" if status in (408, 429) or status >= 500 else None
    if isinstance(error, _transport_error()):
        return f"no connection ({str(error) or type(error).__name__})"
    return None


def _transport_error() -> type[Exception]:
    """The errors of the HTTP library that huggingface_hub uses: httpx, or httpx2 since its 2.x."""
    from huggingface_hub import get_session

    module = sys.modules[type(get_session()).__module__.partition(".")[0]]
    kind: type[Exception] = module.TransportError
    return kind


def _retry_after(error: Exception, otherwise: float) -> float:
    response = getattr(error, "response", None)
    text = response.headers.get("Retry-After", "") if response is not None else ""
    return min(float(text), _LONGEST_WAIT) if text.isdecimal() else otherwise


def _explained(
    error: Exception, repository: str, revision: str | None, file: str | None
) -> Exception:
    """`error` as a TrimixError that says what to do; itself where it is not the Hub's."""
    from huggingface_hub import errors, get_token

    page = f"{_endpoint()}/{repository}"
    login = "log in with `hf auth login`, or set HF_TOKEN"
    if isinstance(error, errors.OfflineModeIsEnabled):
        return TrimixError("HF_HUB_OFFLINE is set: unset it to download")
    if isinstance(error, errors.GatedRepoError):
        then = "use the token of the account that did" if get_token() else login
        return TrimixError(f"{repository} is gated: accept its licence on {page}, then {then}")
    if isinstance(error, errors.RevisionNotFoundError):
        return TrimixError(f"{repository} has no revision {revision!r}")
    if isinstance(error, errors.RepositoryNotFoundError):
        return TrimixError(f"{page}: no such repository; if it is private, {login}")
    if isinstance(error, errors.EntryNotFoundError):
        return TrimixError(f"{repository} has no file {file} (at {(revision or 'main')[:12]})")
    if isinstance(error, errors.HfHubHTTPError):
        status = error.response.status_code
        if status in (401, 403):
            return TrimixError(f"{repository}: the Hub refuses access ({status}); {login}")
        return TrimixError(f"{page}: the Hub answers {status}")
    if isinstance(error, ValueError):
        return TrimixError(
            f"{page}: what answers there is no Hub ({' '.join(str(error).split())[:120]}); "
            "look at HF_ENDPOINT, and whether the network wants a login of its own"
        )
    return error


def _endpoint() -> str:
    from huggingface_hub import constants

    return os.environ.get("HF_ENDPOINT", str(constants.ENDPOINT)).rstrip("/")
