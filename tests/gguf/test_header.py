"""GGUF headers: what is read, what is refused, and that no file takes the process down."""

from __future__ import annotations

import os
import random
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from trimix_cpp.errors import ModelFileError
from trimix_cpp.gguf.header import Array
from trimix_cpp.gguf.reader import read_header

from ..support.tiny import tiny_vocabulary, write_tiny_model
from ..support.vocab_files import bpe, sentencepiece

SCALARS = {2: "<H", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q"}
U16, U32, I32, F32, BOOL, STRING, U64 = 2, 4, 5, 6, 7, 8, 10
Tensor = tuple[tuple[int, ...], int, bytes]


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def one(kind: int, value: Any) -> bytes:
    """A typed value as it stands in a file."""
    return struct.pack("<I", kind) + plain(kind, value)


def many(kind: int, values: Sequence[Any]) -> bytes:
    """A typed array as it stands in a file."""
    return struct.pack("<IIQ", 9, kind, len(values)) + b"".join(plain(kind, v) for v in values)


def plain(kind: int, value: Any) -> bytes:
    return text(value) if kind == STRING else struct.pack(SCALARS[kind], value)


@dataclass(frozen=True)
class RawFile:
    """A GGUF file in pieces, each of which can be put wrong: gguf's own writer refuses to."""

    keys: dict[str, bytes]
    tensors: dict[str, Tensor]

    def with_keys(self, keys: dict[str, bytes | None]) -> RawFile:
        """With these keys; None takes one away."""
        merged = {**self.keys, **keys}
        return replace(self, keys={k: v for k, v in merged.items() if v is not None})

    def with_tensor(self, name: str, tensor: Tensor) -> RawFile:
        return replace(self, tensors={**self.tensors, name: tensor})

    def header(self) -> bytes:
        out = [b"GGUF", struct.pack("<IQQ", 3, len(self.tensors), len(self.keys))]
        out += [text(key) + value for key, value in self.keys.items()]
        offset = 0
        for name, (shape, kind, data) in self.tensors.items():
            out.append(text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape))
            out.append(struct.pack("<IQ", kind, offset))
            offset += len(data) + -len(data) % 32
        return b"".join(out)

    def data(self) -> bytes:
        header = self.header()
        parts = [header, *(data for _, _, data in self.tensors.values())]
        return b"".join(part + bytes(-len(part) % 32) for part in parts)

    def write(self, path: Path) -> Path:
        path.write_bytes(self.data())
        return path


def raw_model(arch: str, *, n_embd: int = 64, n_layer: int = 2) -> RawFile:
    """A model of `arch` that llama.cpp runs: 4 heads of 16, 2 KV heads."""
    vocabulary = bpe_keys() if arch == "qwen2" else spm_keys()
    n_vocab = int.from_bytes(vocabulary["tokenizer.ggml.tokens"][8:16], "little")
    numbers = {
        "context_length": 512,
        "embedding_length": n_embd,
        "block_count": n_layer,
        "feed_forward_length": 96,
        "attention.head_count": 4,
        "attention.head_count_kv": 2,
    }
    if arch == "gemma3":
        numbers |= {
            "attention.key_length": 16,
            "attention.value_length": 16,
            "attention.sliding_window": 64,
        }
    keys = {"general.architecture": one(STRING, arch)}
    keys |= {f"{arch}.{name}": one(U32, value) for name, value in numbers.items()}
    keys[f"{arch}.attention.layer_norm_rms_epsilon"] = one(F32, 1e-6)
    rng = np.random.default_rng(0)
    tensors: dict[str, Tensor] = {}

    def add(name: str, *shape: int) -> None:
        values = rng.standard_normal(shape).astype("<f4") * 0.3
        tensors[name] = (shape, 0, values.tobytes())

    add("token_embd.weight", n_embd, n_vocab)
    add("output_norm.weight", n_embd)
    for block in (f"blk.{layer}." for layer in range(n_layer)):
        add(block + "attn_norm.weight", n_embd)
        for name, size in (("attn_q", 64), ("attn_k", 32), ("attn_v", 32)):
            add(f"{block}{name}.weight", n_embd, size)
        add(block + "attn_output.weight", 64, n_embd)
        if arch == "gemma3":
            for name, size in (("attn_q", 16), ("attn_k", 16), ("post_attention", n_embd)):
                add(f"{block}{name}_norm.weight", size)
            add(block + "post_ffw_norm.weight", n_embd)
        add(block + "ffn_norm.weight", n_embd)
        add(block + "ffn_gate.weight", n_embd, 96)
        add(block + "ffn_up.weight", n_embd, 96)
        add(block + "ffn_down.weight", 96, n_embd)
    return RawFile(keys | vocabulary, tensors)


def tokenizer(**keys: bytes) -> dict[str, bytes]:
    return {f"tokenizer.ggml.{name}": value for name, value in keys.items()}


def bpe_keys() -> dict[str, bytes]:
    tokens, types, merges = tiny_vocabulary()
    return tokenizer(
        model=one(STRING, "gpt2"),
        pre=one(STRING, "qwen2"),
        tokens=many(STRING, tokens),
        token_type=many(I32, types),
        merges=many(STRING, merges),
        eos_token_id=one(U32, len(tokens) - 1),
    )


def spm_keys() -> dict[str, bytes]:
    file = sentencepiece()
    return tokenizer(
        model=one(STRING, "llama"),
        tokens=many(STRING, [token for token, _ in file.tokens]),
        token_type=many(I32, [kind for _, kind in file.tokens]),
        scores=many(F32, file.scores),
        bos_token_id=one(U32, 1),
        eos_token_id=one(U32, 2),
    )


ARCHITECTURES = ("qwen2", "llama", "gemma3")
MODELS = {arch: raw_model(arch) for arch in ARCHITECTURES}
QWEN, GEMMA = MODELS["qwen2"], MODELS["gemma3"]


def refusal(path: Path) -> str:
    """What the user sees: the one line with which `path` is refused."""
    with pytest.raises(ModelFileError) as error:
        read_header(path)
    message = str(error.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


# -- a child that really uses the files --------------------------------------------------------

CHILD = """
import sys
import numpy as np
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
except ImportError:
    pass
from trimix_cpp.errors import TrimixError
from trimix_cpp.llama import Context, Model

def use(path):
    for vocab_only in (True, False):
        with Model(path, vocab_only=vocab_only) as model:
            for special in (True, False):
                tokens = model.tokenize("the Open a\\x01<|im_end|> ", add_special=special)
            for token in range(model.n_vocab):
                model.piece(token)
            if not vocab_only:
                ids = np.array((tokens + [0] * 4)[:4], np.int32)
                with Context(model, n_ctx=256, n_outputs_max=4, n_threads=1) as context:
                    context.decode(ids, np.arange(4, dtype=np.int32), ids * 0, ids >= 0)
                    context.logits()

for path in sys.stdin.read().splitlines():
    print("begun", path, flush=True)
    try:
        use(path)
        print("fine", flush=True)
    except TrimixError as error:
        print("refused", repr(str(error)), flush=True)
"""


def fates(paths: Sequence[Path]) -> dict[Path, str]:
    """What became of each file in a child process: fine, refused, or how the child died."""
    fate: dict[Path, str] = {}
    left = list(paths)
    while left:
        done = subprocess.run(
            [sys.executable, "-c", CHILD],
            input="\n".join(map(str, left)),
            capture_output=True,
            text=True,
            timeout=600,
            # Else ggml's abort starts a debugger to print a backtrace.
            env={**os.environ, "GGML_NO_BACKTRACE": "1"},
        )
        lines = done.stdout.splitlines()
        said = [*lines[1::2], f"died ({done.returncode}): {done.stderr[-300:]}"]
        begun = (len(lines) + 1) // 2
        fate.update(zip(left[:begun], said, strict=False))
        left = left[begun:]
    return fate


def check_that_all_live(files: Iterator[bytes], folder: Path) -> dict[Path, str]:
    paths = []
    for number, data in enumerate(files):
        paths.append(folder / f"{number}.gguf")
        paths[-1].write_bytes(data)
    fate = fates(paths)
    dead = {path: how for path, how in fate.items() if how.startswith("died")}
    assert not dead
    assert not [how for how in fate.values() if r"\n" in how]
    return fate


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


def test_good_files_run(tmp_path: Path) -> None:
    fate = check_that_all_live((model.data() for model in MODELS.values()), tmp_path)
    assert set(fate.values()) == {"fine"}


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
    read_header(path)
    for length in range(len(data)):
        path.write_bytes(data[:length])
        refusal(path)


# -- files that llama.cpp would die of ---------------------------------------------------------

TOKENS, TYPES, _ = tiny_vocabulary()


def tokens(changes: dict[int, str]) -> dict[str, bytes]:
    changed = [changes.get(index, token) for index, token in enumerate(TOKENS)]
    return {"tokenizer.ggml.tokens": many(STRING, changed)}


def without_byte() -> bytes:
    names = [name for name, _ in sentencepiece().tokens]
    return many(STRING, ["<0x4_>" if name == "<0x41>" else name for name in names])


# file, changed keys -> the reason; without the check the process ends by the signal named.
BAD_KEYS: list[tuple[RawFile, dict[str, bytes | None], str]] = [
    # SIGABRT: asserts in load_hparams
    (QWEN, {"qwen2.block_count": one(U32, 0)}, "block_count is 0"),
    (QWEN, {"qwen2.block_count": one(U32, 513)}, "block_count is 513"),
    (QWEN, {"qwen2.nextn_predict_layers": one(U32, 3)}, "nextn_predict_layers is more"),
    (QWEN, {"qwen2.rope.scaling.type": one(STRING, "bogus")}, "rope.scaling.type is 'bogus'"),
    (QWEN, {"qwen2.expert_count": one(U32, 4)}, "it uses 0 of 4 experts"),
    (QWEN, {"qwen2.expert_used_count": one(U32, 2)}, "it uses 2 of 0 experts"),
    (QWEN, {"qwen2.expert_used_count": many(U32, [0, 1])}, "it uses 1 of 0 experts"),
    (QWEN, {"qwen2.expert_group_count": one(U32, 1)}, "in 1 groups"),
    (QWEN, {"qwen2.expert_count": one(U32, 2**20)}, "of 1048576 experts"),
    # SIGABRT: asserts when the graph is built or computed
    (QWEN, {"qwen2.attention.key_length": one(U32, 8)}, "its heads have 8 values in keys"),
    (QWEN, {"qwen2.rope.dimension_count": one(U32, 0)}, "0 of 16 values of a head are rotated"),
    (GEMMA, {"gemma3.rope.dimension_count": one(U32, 7)}, "7 of 16 values of a head"),
    (GEMMA, {"gemma3.rope.dimension_count": one(U32, 18)}, "18 of 16 values of a head"),
    (GEMMA, {"gemma3.rope.dimension_count_swa": one(U32, 0)}, "0 of 16"),  # endless
    (QWEN, {"qwen2.attention.head_count": one(U32, 0)}, "it has 0 heads and 2 KV heads"),
    (QWEN, {"qwen2.attention.head_count_kv": one(U32, 3)}, "it has 4 heads and 3 KV heads"),
    (QWEN, {"qwen2.attention.head_count_kv": many(U32, [2, 4])}, "different numbers of heads"),
    (QWEN, {"qwen2.attention.layer_norm_rms_epsilon": one(F32, -1)}, "epsilon is -1.0"),
    (QWEN, {"qwen2.attention.layer_norm_rms_epsilon": one(F32, float("nan"))}, "epsilon is nan"),
    (QWEN, {"qwen2.attention.causal": one(BOOL, False)}, "reads text in both directions"),
    (GEMMA, {"gemma3.attention.sliding_window_pattern": one(U32, 1)}, "no layer has the sliding"),
    (GEMMA, {"gemma3.attention.sliding_window_pattern": many(U32, [0, 0])}, "no layer has"),
    (GEMMA, {"gemma3.attention.sliding_window": one(U32, 2**31)}, "sliding_window is 2147483648"),
    (QWEN, {"general.alignment": one(U32, 1)}, "general.alignment is no power of two from 32"),
    (QWEN, {"general.alignment": one(U32, 0)}, "general.alignment is no power of two from 32"),
    # SIGABRT: the vocabulary, when it is loaded or a text is tokenized
    (QWEN, tokens({5: TOKENS[6]}), "two tokens have the same text"),
    (QWEN, tokens({5: TOKENS[6] + "\0x"}), "two tokens have the same text"),
    (QWEN, tokens({5: "", 6: "[EMPTY_5]"}), "two tokens have the same text"),
    (MODELS["llama"], {"tokenizer.ggml.tokens": without_byte()}, "lacks the byte token <0x41>"),
    (QWEN, tokenizer(model=one(STRING, "gemma4")), "it wants BOS added to a text and"),
    (QWEN, tokenizer(model=one(STRING, "none")), "its tokenizer is of the kind 'none'"),
    (QWEN, tokenizer(model=one(STRING, "rwkv")), "its tokenizer is of the kind 'rwkv'"),
    (QWEN, tokenizer(tokens=many(I32, [1])), "tokenizer.ggml.tokens is no list of strings"),
    (QWEN, tokenizer(token_type=many(I32, TYPES[1:])), "token_type does not match the 263"),
    (QWEN, tokenizer(merges=many(U32, [1])), "tokenizer.ggml.merges is no list of strings"),
    (QWEN, tokenizer(eos_token_id=one(U32, 263)), "eos_token_id is not one of the 263 tokens"),
    (
        QWEN,
        tokenizer(pre=one(STRING, "glm4"), add_bos_token=one(BOOL, True)),
        "it wants BOS added to a text and does not name it",
    ),
    # what llama.cpp would read as another key or name than is checked here
    (QWEN, {"tokenizer.ggml.tokens\0": many(STRING, ["a", "a"])}, "or holds a NUL"),
    (QWEN, {"general.architecture": one(STRING, "qwen2\0x")}, "architecture holds a NUL"),
    (QWEN, {"general.architecture": one(STRING, "")}, "it does not name its architecture"),
    (QWEN, {"general.architecture": None}, "it does not name its architecture"),
    # SIGABRT: the type of an adapter's keys, and of a split model's, is asserted
    (QWEN, {"split.no": one(U32, 0)}, "split.no is of another type than it must be"),
    (QWEN, {"adapter.lora.alpha": one(U32, 1)}, "adapter.lora.alpha is of another type"),
    (QWEN, {"adapter.type": one(U32, 1)}, "adapter.type is of another type"),
    (QWEN, {"general.type": one(U32, 1)}, "general.type is of another type"),
    # a name from the file neither breaks the line nor steers the terminal
    (QWEN, {"a\n\x1b[2J": struct.pack("<I", 99)}, "a??[2J has value type 99"),
]


@pytest.mark.parametrize(("file", "keys", "reason"), BAD_KEYS, ids=lambda value: str(value)[:60])
def test_metadata_that_would_end_the_process(
    file: RawFile, keys: dict[str, bytes | None], reason: str, tmp_path: Path
) -> None:
    message = refusal(file.with_keys(keys).write(tmp_path / "bad.gguf"))
    assert message.startswith("broken GGUF file (")
    assert reason in message


BAD_TENSORS: list[tuple[str, Tensor, str]] = [
    ("blk.0.attn_q.weight", ((64, 64), 9, bytes(4608)), "has tensor type 9"),  # SIGSEGV
    ("blk.0.attn_q.weight", ((64, 64), 24, bytes(4096)), "has tensor type 24"),  # SIGSEGV
    ("token_embd.weight", ((64, 263), 26, bytes(67328)), "has tensor type 26"),  # SIGABRT
    ("output_norm.weight", ((64,), 1, bytes(128)), "output_norm.weight is not F32"),  # SIGABRT
    ("output_norm.weight", ((64, 1), 8, bytes(68)), "output_norm.weight is not F32"),  # SIGABRT
    ("rope_freqs.weight", ((8,), 1, bytes(16)), "rope_freqs.weight is not F32"),  # SIGABRT
    ("x", ((64,), 99, b""), "x has the unknown tensor type 99"),
    ("x", ((33,), 8, b""), "rows of x are no multiple of 32"),
    ("x", ((0,), 0, b""), "x has the shape [0]"),
    ("x", ((2**40, 2**40), 0, b""), "x has the shape"),
    ("x", ((1,) * 5, 0, bytes(4)), "x has 5 dimensions"),
    ("x", ((2**30,), 0, bytes(4)), "the weights of x lie outside the file"),
    ("x" * 64, ((1,), 0, bytes(4)), "the name of tensor 20 is too long"),
    ("x\0", ((1,), 0, bytes(4)), "has a NUL"),
]


@pytest.mark.parametrize(("name", "tensor", "reason"), BAD_TENSORS)
def test_tensors_that_would_end_the_process(
    name: str, tensor: Tensor, reason: str, tmp_path: Path
) -> None:
    assert reason in refusal(QWEN.with_tensor(name, tensor).write(tmp_path / "bad.gguf"))


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


# -- files damaged at random -------------------------------------------------------------------


def damaged(count: int, seed: int) -> Iterator[bytes]:
    """Files with a few bytes, or one aligned word, of the header changed."""
    rng = random.Random(seed)
    numbers = (0, 1, 2, 3, 0x7F, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1)
    for index in range(count):
        model = MODELS[ARCHITECTURES[index % 3]]
        data, end = bytearray(model.data()), len(model.header())
        # The vocabulary is most of the header, so two thirds of the damage go elsewhere.
        start = bytes(data).find(b"tokenizer.ggml.tokens")
        stop = bytes(data).find(b"token_embd.weight")
        ranges = ((8, start), (stop, end), (8, end))
        if index % 2:
            for _ in range(rng.choice((1, 1, 2, 4))):
                data[rng.randrange(*rng.choice(ranges))] ^= rng.randrange(1, 256)
        else:
            place = min(rng.randrange(*rng.choice(ranges)), end - 4)
            struct.pack_into("<I", data, place, rng.choice(numbers))
        yield bytes(data)


def test_no_damaged_header_ends_the_process(tmp_path: Path) -> None:
    fate = check_that_all_live(damaged(150, seed=0), tmp_path)
    assert len(fate) == 150


@pytest.mark.slow
def test_no_damaged_header_ends_the_process_at_length(tmp_path: Path) -> None:
    """Minutes: `pytest -m slow tests/gguf/test_header.py`; TRIMIX_FUZZ_SEED=N for other files."""
    seed = int(os.environ.get("TRIMIX_FUZZ_SEED", "1"))
    for round_ in range(10):
        folder = tmp_path / str(round_)
        folder.mkdir()
        check_that_all_live(damaged(300, seed=seed * 1000 + round_), folder)
        for path in folder.iterdir():
            path.unlink()
