"""Names that come from outside and become paths: of trios, repositories, commits and files."""

from __future__ import annotations

import re

_MOST_BYTES = 200
# What Windows allows in no name, and what no terminal should be sent.
_FORBIDDEN = re.compile(r'[/\\:*?"<>|\x00-\x1f\x7f-\x9f\ud800-\udfff]')
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_TRIO = re.compile(r"\w[\w .+-]*")
# "owner/name" or an old "name"; what the Hub allows, and never a path that leaves a folder.
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def is_file_name(text: str) -> bool:
    """Whether `text` names one file in whatever folder, on every system; hidden ones are ours."""
    return (
        0 < len(text.encode("utf-8", "replace")) <= _MOST_BYTES
        and not _FORBIDDEN.search(text)
        and not _DEVICES.fullmatch(text)
        and not text.startswith(".")
        and not text.endswith((" ", "."))
    )


def is_file_path(text: str) -> bool:
    """Whether `text` is such names with slashes between them: what a repository calls a file."""
    return all(is_file_name(part) for part in text.split("/"))


def is_trio_name(text: str) -> bool:
    """Whether a trio called so may be kept in the store."""
    return is_file_name(text) and _TRIO.fullmatch(text) is not None


def is_repository(text: str) -> bool:
    """Whether `text` is what the Hub calls a repository."""
    plain = _REPOSITORY.fullmatch(text) is not None and ".." not in text and "--" not in text
    return plain and len(text) <= _MOST_BYTES // 2


def is_commit(text: str) -> bool:
    """Whether `text` is git's name for a commit, in full."""
    return _COMMIT.fullmatch(text) is not None


def is_sha256(text: str) -> bool:
    """Whether `text` is a SHA-256 in hexadecimal."""
    return _SHA256.fullmatch(text) is not None


def require(fits: bool, text: object, what: str) -> None:
    """Raises ValueError where `text` is not `what` it should be."""
    if not fits:
        raise ValueError(f"{str(text)[:80]!r} is no {what}")
