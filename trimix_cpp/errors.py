"""Errors that a user can act on.

Each carries one line that says what is wrong and what to do, and the exit code that the command
line gives for it (see "Exit codes" in the README). Anything else that escapes is a defect.
"""

from __future__ import annotations


class TrimixError(Exception):
    """Something the user can mend; `str(error)` is one line, ready to be shown."""

    exit_code = 1


class ModelFileError(TrimixError):
    """A model file is missing, broken, or not what its role needs."""


class AlignmentError(TrimixError):
    """The models may not be fused: their vocabularies or tokenizers differ."""

    exit_code = 3


class ContextFullError(TrimixError):
    """A sequence does not fit into the context."""


class UsageError(TrimixError):
    """An option or argument has no meaning; exit code 2, as click's own usage errors."""

    exit_code = 2


class StoppedError(TrimixError):
    """The user stopped it, and the line says what is kept; exit code 130, as Ctrl-C everywhere."""

    exit_code = 130


class FullError(TrimixError):
    """All places for texts are taken."""


class AbortedError(TrimixError):
    """A batch was left before its end; nothing of it was kept."""


def refusal_of(error: OSError) -> str:
    """What the system refused, in a line: the file, where one is known, and why."""
    name = f"{error.filename}: " if error.filename else ""
    return f"{name}{error.strerror or error}"
