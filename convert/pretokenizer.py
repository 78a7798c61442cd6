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

from trimix_cpp.errors import TrimixError

logger = logging.getLogger(__name__)

# A pre-tokenizer in a comparable form: its steps, and whether a whole word that is a token skips
# the merges (llama.cpp ties that to the pre-tokenizer's name).
Structure = tuple[tuple[tuple[object, ...], ...], bool]

QWEN2_REGEX = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

LLAMA3_REGEX = QWEN2_REGEX.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
_BYTES = ("ByteLevel", False, False)

KNOWN: dict[Structure, str] = {
    ((("Split", QWEN2_REGEX, "Isolated", False), _BYTES), False): "qwen2",
    ((("Split", LLAMA3_REGEX, "Isolated", False), _BYTES), True): "llama-bpe",
}


def detect(path: Path, tokenizer: dict[str, Any], name: str | None = None) -> str:
    """llama.cpp's name for the pre-tokenizer of `tokenizer`, the contents of `path`.

    A `name` given by the caller is taken on trust.

    Raises:
        TrimixError: the pre-tokenizer is not among the known ones, or the normalizer changes
            the text in a way that llama.cpp would not.
    """
    _check_normalizer(path, tokenizer.get("normalizer"))
    if name is not None:
        if not re.fullmatch(r"[a-z0-9._-]+", name):
            raise TrimixError(f"--pre {name!r} is no name of a pre-tokenizer, such as 'qwen2'")
        return name
    steps = tuple(_steps(tokenizer.get("pre_tokenizer")))
    known = KNOWN.get((steps, bool(tokenizer["model"].get("ignore_merges"))))
    if known is None:
        raise TrimixError(
            f"{path} has a pre-tokenizer that is not recognised "
            f"(known: {', '.join(sorted(KNOWN.values()))}): "
            "state llama.cpp's name for it with --pre NAME"
        )
    return known


def space_prefix(path: Path, tokenizer: dict[str, Any]) -> bool:
    """Whether a SentencePiece-like tokenizer puts a space before the text.

    llama.cpp knows one rule for these: spaces become U+2581, with one more of them in front or not,
    and the text is not split. Transformers writes it in several ways.

    Raises:
        TrimixError: the tokenizer does anything else to the text.
    """
    normalizer = _parts(tokenizer.get("normalizer"), "normalizers")
    splitter = _parts(tokenizer.get("pre_tokenizer"), "pretokenizers")
    if _SPACES in normalizer:
        splitter = [part for part in splitter if part != _AT_SPACES]  # no space is left by then
    if not splitter and normalizer in ([_SPACES], [_PREPEND, _SPACES]):
        return _PREPEND in normalizer
    if not normalizer and len(splitter) == 1 and splitter[0]["type"] == "Metaspace":
        scheme = splitter[0].get("prepend_scheme", "always")
        if splitter[0]["replacement"] == "\u2581" and not splitter[0].get("split", True):
            return bool(scheme != "never")
    raise TrimixError(
        f"{path} treats spaces otherwise than llama.cpp's SentencePiece tokenizer: "
        "the converted model would read other tokens"
    )


_PREPEND = {"type": "Prepend", "prepend": "\u2581"}
_SPACES = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
_AT_SPACES = {
    "type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False,
}  # fmt: skip


def _parts(section: dict[str, Any] | None, key: str) -> list[dict[str, Any]]:
    """The steps of a normalizer or pre-tokenizer, whether it is a sequence or not."""
    if section is None:
        return []
    return list(section[key]) if section["type"] == "Sequence" else [section]


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
        raise TrimixError(
            f"{path} normalizes text ({', '.join(kinds)}), which llama.cpp does not do for BPE: "
            "the converted model would read other tokens"
        )
    if kinds:
        logger.info("%s: NFC is left to the caller, llama.cpp does not apply it", path)
