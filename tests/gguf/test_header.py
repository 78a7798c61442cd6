"""GGUF headers: what is read, and what is no GGUF file."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest

from trimix_cpp.errors import ModelFileError
from trimix_cpp.gguf.header import Array, Header
from trimix_cpp.gguf.reader import read_header, read_tables

from ..support.fates import fates
from ..support.raw_gguf import (
    BOOL,
    I32,
    MODELS,
    STRING,
    U16,
    U32,
    U64,
    RawFile,
    Tensor,
    many,
    one,
    text,
)
from ..support.tiny import write_tiny_model
from ..support.vocab_files import bpe, sentencepiece

QWEN = MODELS["qwen2"]


def refusal(path: Path, read: Callable[[Path], Header] = read_header) -> str:
    """What the user sees: the one line with which `path` is refused."""
    with pytest.raises(ModelFileError) as error:
        read(path)
    message = str(error.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


# -- good files --------------------------------------------------------------------------------


def written(folder: Path) -> list[Path]:
    return [
        write_tiny_model(folder / "tiny.gguf"),
        bpe().write(folder / "bpe.gguf"),
        sentencepiece().write(folder / "spm.gguf"),
    ]


def test_headers_are_what_gguf_reads(tmp_path: Path) -> None:
    for path in written(tmp_path):
        header, reader = read_header(path), gguf.GGUFReader(path)
        fields = {k: v for k, v in reader.fields.items() if not k.startswith("GGUF.")}
        assert list(header.metadata) == list(fields)
        for key, wanted in ((key, value.contents()) for key, value in fields.items()):
            value = header.metadata[key]
            if isinstance(value, Array) and value.type == STRING:
                assert [raw.decode() for raw in header.strings(key) or []] == wanted
            elif isinstance(value, Array):
                np.testing.assert_array_equal(header.numbers(key), wanted)
            else:
                assert value == wanted
        assert [(t.name, t.shape, t.type, t.nbytes) for t in header.tensors] == [
            (t.name, tuple(t.shape), int(t.tensor_type), int(t.n_bytes)) for t in reader.tensors
        ]
        for mine, theirs in zip(header.tensors, reader.tensors, strict=True):
            assert header.data_offset + mine.offset == theirs.data_offset


GOOD: list[dict[str, bytes | None]] = [
    {"qwen2.rope.scaling.type": one(STRING, "yarn")},
    {"qwen2.attention.head_count_kv": many(U32, [2, 2])},
    {"qwen2.expert_count": one(U32, 0), "qwen2.expert_used_count": one(U32, 0)},
    {"qwen2.rope.dimension_count": one(U32, 16)},
    {"general.alignment": one(U32, 32)},
    {"tokenizer.ggml.padding_token_id": one(U32, 2**32 - 1)},
    {"tokenizer.ggml.add_bos_token": one(BOOL, True)},
    {"general.name": one(STRING, "a\nb")},
]


@pytest.mark.parametrize("keys", GOOD, ids=lambda keys: next(iter(keys)))
def test_unusual_but_good_values_are_read(keys: dict[str, bytes | None], tmp_path: Path) -> None:
    read_header(QWEN.with_keys(keys).write(tmp_path / "good.gguf"))


# -- files that are no GGUF files --------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty; download or convert the file again"),
        (b"GG", "not a GGUF file (it does not begin with 'GGUF')"),
        (b"PK\3\4" + bytes(60), "not a GGUF file (it does not begin with 'GGUF')"),
        (b"GGUF\1\0\0\0", "version 1 GGUF is not supported; convert the model anew"),
        (b"GGUF\0\0\0\3", "big-endian GGUF is not supported; convert the model anew"),
        (b"GGUF\xff\0\0\0", "version 255 GGUF is not supported; convert the model anew"),
    ],
)
def test_other_files(data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "other.gguf"
    path.write_bytes(data)
    assert refusal(path) == message


def test_no_file_a_folder_and_a_file_without_permission(tmp_path: Path) -> None:
    assert refusal(tmp_path / "no.gguf") == "no such file"
    assert refusal(tmp_path) == "is a folder, not a GGUF file"
    path = QWEN.write(tmp_path / "secret.gguf")
    path.chmod(0)
    if not os.access(path, os.R_OK):  # root reads everything
        assert refusal(path).startswith("cannot be read (")


def test_counts_beyond_the_file(tmp_path: Path) -> None:
    """37 bytes are enough to abort llama.cpp's reader (its issue 24884)."""
    path = tmp_path / "small.gguf"
    start = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("a")
    for rest, reason in (
        (struct.pack("<I", 9), "the file ends inside a"),
        (struct.pack("<IIQ", 9, U64, 2**61), "the file ends inside a"),
        (struct.pack("<IIQ", 9, STRING, 2**60), "a claims 1152921504606846976 strings"),
        (struct.pack("<IIQ", 9, 9, 1), "a has element type 9"),
        (struct.pack("<IQ", STRING, 2**63), "the file ends inside a"),
        (struct.pack("<I", 13), "a has value type 13"),
    ):
        path.write_bytes(start + rest)
        message = f"broken GGUF file ({reason}); download or convert the file again"
        assert refusal(path) == message
    assert len(start) + 4 == 37
    for counts in ((2**40, 0), (0, 2**40), (2**63, 2**63)):
        path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, *counts))
        assert "it claims" in refusal(path)


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    keys = {"general.architecture": one(STRING, "qwen2"), "some.numbers": many(U32, [1, 2, 3])}
    keys |= {"some.strings": many(STRING, ["a", "", "ö"]), "some.flag": one(BOOL, True)}
    tensors: dict[str, Tensor] = {"a.weight": ((8, 2), 0, bytes(64)), "b": ((8,), 0, bytes(32))}
    data = RawFile(keys, tensors).data()
    path = tmp_path / "cut.gguf"
    path.write_bytes(data)
    read_tables(path)
    for length in range(len(data)):
        path.write_bytes(data[:length])
        refusal(path, read_tables)


# -- models in several files -------------------------------------------------------------------


def split(folder: Path, **second: bytes) -> Path:
    """QWEN in two files; `second` changes the keys of the second one."""
    names = list(QWEN.tensors)
    parts = [{name: QWEN.tensors[name] for name in half} for half in (names[:9], names[9:])]
    common = {"split.count": one(U16, 2), "split.tensors.count": one(I32, len(names))}
    first = RawFile(QWEN.keys | common | {"split.no": one(U16, 0)}, parts[0])
    other = RawFile(common | {"split.no": one(U16, 1)} | second, parts[1])
    other.write(folder / "m-00002-of-00002.gguf")
    return first.write(folder / "m-00001-of-00002.gguf")


def test_a_split_model_is_read_whole_and_every_part_is_checked(tmp_path: Path) -> None:
    path = split(tmp_path)
    assert len(read_header(path).tensors) == len(QWEN.tensors)
    assert fates([path]) == {path: "fine"}
    second = tmp_path / "m-00002-of-00002.gguf"
    split(tmp_path, **{"split.no": one(U32, 1)})  # SIGABRT: llama.cpp asserts the type
    with pytest.raises(
        ModelFileError, match=r"m-00002-of-00002.gguf: .*split.no is of another type"
    ):
        read_header(path)
    second.unlink()
    with pytest.raises(ModelFileError, match=r"m-00002-of-00002.gguf: no such file"):
        read_header(path)
    renamed = path.rename(tmp_path / "renamed.gguf")
    assert refusal(renamed) == "name the first part of a split model, *-00001-of-00002.gguf"
