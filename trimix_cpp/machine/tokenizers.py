"""GGUF files by their tokenizers: which could be large, cpt and base of one trio."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import TrimixError
from ..gguf import Header, read_header

_UNUSED = 5


@dataclass(frozen=True)
class ModelFile:
    """A model on this machine.

    Attributes:
        path: its file.
        program: whose folder it lies in; empty where a user named it.
        name: what the file calls itself.
        architecture: GGUF's name.
        type: of its weights, e.g. Q4_K_M.
        parameters: how many it has.
        shape: layers and width: base and cpt have the same.
        tokenizer: equal for files whose tokens are the same, whatever their order and padding.
        chats: it has a chat template.
    """

    path: Path
    program: str
    name: str
    architecture: str
    type: str
    parameters: int
    shape: tuple[int, int]
    tokenizer: str
    chats: bool


@dataclass(frozen=True)
class Group:
    """Models with one tokenizer, the largest first."""

    models: tuple[ModelFile, ...]

    @property
    def pairs(self) -> tuple[tuple[ModelFile, ...], ...]:
        """Models of one shape, which could be base and cpt for a larger one of the group."""
        shapes: dict[tuple[str, tuple[int, int]], list[ModelFile]] = {}
        for model in self.models:
            shapes.setdefault((model.architecture, model.shape), []).append(model)
        most = self.models[0].parameters
        return tuple(
            tuple(same)
            for same in shapes.values()
            if len(same) > 1 and max(model.parameters for model in same) < most
        )

    @property
    def could_be_a_trio(self) -> bool:
        """Whether there are two of one shape and a larger one."""
        return bool(self.pairs)


def by_tokenizer(files: Iterable[tuple[Path, str]]) -> list[Group]:
    """The models among these files (path, program), in groups; those that could be a trio first.

    A file that is broken, or of an architecture that is not run, is left out.
    """
    groups: dict[str, list[ModelFile]] = {}
    for path, program in files:
        try:
            header = read_header(path)
        except TrimixError:
            continue
        if not header.tensors:  # a tokenizer alone
            continue
        model = _look(header, program)
        groups.setdefault(model.tokenizer, []).append(model)
    found = [
        Group(tuple(sorted(models, key=lambda m: (-m.parameters, str(m.path)))))
        for models in groups.values()
    ]
    return sorted(found, key=lambda g: (not g.could_be_a_trio, -len(g.models)))


def _look(header: Header, program: str) -> ModelFile:
    name = header.metadata.get("general.name")
    return ModelFile(
        path=header.path,
        program=program,
        name=name if isinstance(name, str) else header.path.stem,
        architecture=header.architecture,
        type=header.type_name,
        parameters=sum(math.prod(tensor.shape) for tensor in header.tensors),
        shape=(header.number("block_count"), header.number("embedding_length")),
        tokenizer=tokenizer_key(header),
        chats=bool(header.metadata.get("tokenizer.chat_template")),
    )


def tokenizer_key(header: Header) -> str:
    """A hash of the kind of tokenizer and of its tokens, in whatever order, without padding.

    It says which files are worth a `check`, not that they may be fused: merges, scores and special
    tokens are compared there.
    """
    tokens = header.strings("tokenizer.ggml.tokens") or []
    types = header.numbers("tokenizer.ggml.token_type")
    real = np.ones(len(tokens), bool) if types is None else types[: len(tokens)] != _UNUSED
    digest = hashlib.sha256(str(header.metadata.get("tokenizer.ggml.model")).encode())
    kept = {text for token, text in enumerate(tokens) if real[token] and text != b"[PAD%d]" % token}
    for text in sorted(kept):
        digest.update(b"%d " % len(text) + text)
    return digest.hexdigest()
