"""Which of llama.cpp's pre-tokenizers a `tokenizer.json` asks for.

llama.cpp's converter recognises a tokenizer by a hash over the ids of a check text, which knows
published vocabularies only: a new vocabulary with an old pre-tokenizer is unknown to it. What the
runtime needs is the pre-tokenizer alone, so its own description is compared here.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

from .errors import ConvertError

logger = logging.getLogger(__name__)

# A pre-tokenizer in a comparable form: its steps, and whether a whole word that is a token skips
# the merges (llama.cpp ties that to the pre-tokenizer's name).
Structure = tuple[tuple[tuple[object, ...], ...], bool]

QWEN2_REGEX = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

KNOWN: dict[Structure, str] = {
    ((("Split", QWEN2_REGEX, "Isolated", False), ("ByteLevel", False, False)), False): "qwen2",
}


def detect(path: Path, tokenizer: dict[str, Any], name: str | None = None) -> str:
    """llama.cpp's name for the pre-tokenizer of `tokenizer`, the contents of `path`.

    A `name` given by the caller is taken on trust.

    Raises:
        ConvertError: the pre-tokenizer is not among the known ones, or the normalizer changes
            the text in a way that llama.cpp would not.
    """
    _check_normalizer(path, tokenizer.get("normalizer"))
    if name is not None:
        if not re.fullmatch(r"[a-z0-9._-]+", name):
            raise ConvertError(f"--pre {name!r} is no name of a pre-tokenizer, such as 'qwen2'")
        return name
    steps = tuple(_steps(tokenizer.get("pre_tokenizer")))
    known = KNOWN.get((steps, bool(tokenizer["model"].get("ignore_merges"))))
    if known is None:
        raise ConvertError(
            f"{path} has a pre-tokenizer that is not recognised "
            f"(known: {', '.join(sorted(KNOWN.values()))}): "
            "state llama.cpp's name for it with --pre NAME"
        )
    return known


def _steps(section: dict[str, Any] | None) -> list[tuple[object, ...]]:
    """The steps of a pre-tokenizer; what does not change the pieces (offsets) is left out."""
    if section is None:
        return []
    kind = section["type"]
    if kind == "Sequence":
        return [step for part in section["pretokenizers"] for step in _steps(part)]
    if kind == "Split":
        pattern = section["pattern"]
        regex = pattern["Regex"] if "Regex" in pattern else re.escape(pattern["String"])
        return [(kind, regex, section["behavior"], section["invert"])]
    if kind == "ByteLevel":
        return [(kind, section["add_prefix_space"], section.get("use_regex", True))]
    return [(kind, repr(section))]


def _check_normalizer(path: Path, normalizer: dict[str, Any] | None) -> None:
    if normalizer is None:
        return
    parts = normalizer["normalizers"] if normalizer["type"] == "Sequence" else [normalizer]
    kinds = [part["type"] for part in parts]
    if any(kind != "NFC" for kind in kinds):
        raise ConvertError(
            f"{path} normalizes text ({', '.join(kinds)}), which llama.cpp does not do for BPE: "
            "the converted model would read other tokens"
        )
    if kinds:
        logger.info("%s: NFC is left to the caller, llama.cpp does not apply it", path)
