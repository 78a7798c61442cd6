"""What is merged: which checkpoints, with which numbers, and whether they go together."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..convert.architecture import SKIPPED
from ..convert.checkpoint import Checkpoint, StoredTensor, open_checkpoint, read_json
from ..convert.tokenizer import added_tokens, open_tokenizer
from ..errors import TrimixError, UsageError

_NUMBERS = re.compile(r"(?P<folder>.+?)(?::(?P<numbers>[a-z]+=[^:=,]*(?:,[a-z]+=[^:=,]*)*))?")
# Each must be the same: the tensors' shapes don't show it.
_SAME = ("architectures", "num_attention_heads", "num_key_value_heads", "hidden_act")
# What continual pretraining may change; the result has the first checkpoint's.
_NOTED = ("rope_theta", "rope_scaling", "rope_parameters", "rms_norm_eps", "sliding_window")
_EMBEDDINGS = ("embed_tokens.weight", "lm_head.weight")


@dataclass(frozen=True)
class Source:
    """A model to merge.

    Attributes:
        folder: its Hugging Face folder.
        weight: of its delta, or of itself in a mean.
        density: the share of its delta that stays, above 0 and at most 1: the greatest changes.

    Raises:
        UsageError: a number is out of its range.
    """

    folder: Path
    weight: float = 1.0
    density: float = 1.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.weight):
            raise UsageError(f"{self.folder}: weight is {self.weight}, but must be finite")
        if not 0 < self.density <= 1:
            raise UsageError(f"{self.folder}: density is {self.density:g}: above 0, at most 1")


def parse_source(text: str) -> Source:
    """`"FOLDER"` or `"FOLDER:density=0.2,weight=0.8"`.

    Raises:
        UsageError: something else.
    """
    found = _NUMBERS.fullmatch(text)
    if not found:
        raise UsageError("--model: name a folder, such as cpt:density=1.0,weight=0.2")
    numbers: dict[str, float] = {}
    for part in (found["numbers"] or "").split(",") if found["numbers"] else ():
        name, _, value = part.partition("=")
        try:
            number = float(value)
        except ValueError:
            raise UsageError(f"--model {text}: {name} is {value!r}, which is no number") from None
        if name not in ("weight", "density") or name in numbers:
            raise UsageError(f"--model {text}: give weight and density, each once, not {name!r}")
        numbers[name] = number
    return Source(Path(found["folder"]), **numbers)


@dataclass(frozen=True)
class Together:
    """Checkpoints whose tensors answer each other.

    Attributes:
        folder: the first one's: the result has its configuration and its tokenizer.
        tensors: name -> the tensor of each checkpoint, all of one shape, in the first one's order.
        notices: what the user should know, a line each.
    """

    folder: Path
    tensors: Mapping[str, tuple[StoredTensor, ...]]
    notices: tuple[str, ...]


def open_together(folders: Sequence[Path]) -> Together:
    """Open checkpoints that are to be merged.

    Raises:
        TrimixError: one is missing or malformed.
        TrimixError: they have not one architecture, one shape, one vocabulary.
    """
    first, *others = [open_checkpoint(folder) for folder in folders]
    notices: list[str] = []
    for other in others:
        notices += _compare_configs(first, other)
        _check_extra(other, first)
    notices += _compare_tokenizers(folders)
    tensors: dict[str, tuple[StoredTensor, ...]] = {}
    for name, tensor in first.tensors.items():
        if name.endswith(SKIPPED):
            continue
        beside = [_fitting(other, name, tensor, notices) for other in others]
        tensors[name] = (tensor, *beside)
    return Together(first.folder, tensors, tuple(dict.fromkeys(notices)))


def _fitting(
    checkpoint: Checkpoint, name: str, like: StoredTensor, notices: list[str]
) -> StoredTensor:
    """The tensor of the checkpoint that belongs to the first one's tensor `like`."""
    first = like.path.parent
    found = _counterpart(checkpoint, name, first)
    # Embeddings are padded differently; the vocabularies were compared.
    more = found.shape[:1] > like.shape[:1] and found.shape[1:] == like.shape[1:]
    if more and name.endswith(_EMBEDDINGS):
        notices.append(f"{checkpoint.folder}: rows of its embeddings beyond those of {first} go")
        return replace(found, shape=like.shape)
    if found.shape != like.shape:
        raise TrimixError(
            f"{checkpoint.folder}: {name} has shape {list(found.shape)}, but {list(like.shape)} in "
            f"{first}: only models of one shape can be merged"
        )
    return found


def _counterpart(checkpoint: Checkpoint, name: str, first: Path) -> StoredTensor:
    """The tensor that the name means; a head that is tied is the embedding."""
    found = checkpoint.tensors.get(name)
    if found is None and name.endswith("lm_head.weight"):
        found = next(
            (t for n, t in checkpoint.tensors.items() if n.endswith("embed_tokens.weight")), None
        )
        found = found if checkpoint.config.get("tie_word_embeddings") else None
    if found is None:
        raise TrimixError(f"{checkpoint.folder} lacks {name}, which {first} has")
    return found


def _check_extra(other: Checkpoint, first: Checkpoint) -> None:
    tied = other.config.get("tie_word_embeddings")
    for name in other.tensors.keys() - first.tensors.keys():
        if name.endswith(SKIPPED) or (tied and name.endswith("lm_head.weight")):
            continue
        raise TrimixError(
            f"{other.folder} has {name}, which {first.folder} lacks: only models of one shape can "
            "be merged"
        )


def _compare_configs(first: Checkpoint, other: Checkpoint) -> list[str]:
    def differing(keys: Sequence[str]) -> list[tuple[str, Any, Any]]:
        pairs = [(key, other.config.get(key), first.config.get(key)) for key in keys]
        return [pair for pair in pairs if pair[1] != pair[2]]

    for key, theirs, ours in differing(_SAME):
        raise TrimixError(
            f"{other.folder}: {key} is {theirs}, but {ours} in {first.folder}: only models of one "
            "family can be merged"
        )
    return [
        f"{other.folder}: {key} is {theirs}, and {ours} in {first.folder}: the result has that"
        for key, theirs, ours in differing(_NOTED)
    ]


def _compare_tokenizers(folders: Sequence[Path]) -> list[str]:
    """Refuse vocabularies in which one id means two tokens.

    Raises:
        TrimixError: they do.
    """
    notices = []
    first = _vocabulary(folders[0])
    for folder in folders[1:]:
        own = _vocabulary(folder)
        if first is None or own is None or type(first) is not type(own):
            notices.append(f"{folder}: its tokens could not be compared with {folders[0]}'s")
        elif isinstance(first, dict) and isinstance(own, dict):
            for token in sorted(first.keys() & own.keys()):
                if first[token] != own[token]:
                    raise TrimixError(
                        f"{folder}: token {token} is {own[token]!r}, but {first[token]!r} in "
                        f"{folders[0]}: models of two vocabularies cannot be merged"
                    )
        elif first != own:
            raise TrimixError(
                f"{folder} has another vocabulary than {folders[0]}: they cannot be merged"
            )
    return notices


def _vocabulary(folder: Path) -> dict[int, str] | bytes | None:
    """Text by id from tokenizer.json, else tokenizer.model as it is; None without either."""
    if not (folder / "tokenizer.json").is_file():
        model = folder / "tokenizer.model"
        return model.read_bytes() if model.is_file() else None
    try:
        files = open_tokenizer(folder)
        vocabulary = read_json(files.path)["model"]["vocab"]
        if isinstance(vocabulary, list):  # Unigram: pairs of text and score
            texts = {i: str(entry[0]) for i, entry in enumerate(vocabulary)}
        else:
            texts = {int(i): str(text) for text, i in vocabulary.items()}
        return texts | {i: token.content for i, token in added_tokens(files).items()}
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        raise TrimixError(f"{folder / 'tokenizer.json'} is malformed") from None
