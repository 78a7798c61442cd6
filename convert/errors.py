"""The one kind of error that conversion and quantization report."""

from __future__ import annotations

from trimix_cpp.errors import TrimixError


class ConvertError(TrimixError):
    """What is wrong with a checkpoint, a file or an option, and what to do, in one line."""
