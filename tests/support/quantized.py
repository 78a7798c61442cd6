"""`convert.quantize.quantize` with a profile that is spelt out, on one thread."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trimix_cpp.convert.quantize import Quantized
from trimix_cpp.convert.quantize import quantize as quantize_as
from trimix_cpp.quant.profiles import RoleProfile


def quantize(src: Path, dst: Path, kind: str, **options: Any) -> Quantized:
    """Quantize `src` to the type `kind`; `options` are those of `RoleProfile.of` and `quantize`."""
    run = {key: options.pop(key) for key in ("force", "progress") if key in options}
    return quantize_as(src, dst, RoleProfile.of(kind, **options), threads=1, **run)
