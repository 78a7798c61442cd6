"""Bad input: one line, and nothing at the destination but what stood there before."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from tokenizers import Regex, normalizers, pre_tokenizers

from trimix_cpp.commands.convert import command
from trimix_cpp.convert import convert
from trimix_cpp.convert.checkpoint import read_safetensors
from trimix_cpp.errors import TrimixError
from trimix_cpp.showing import size_text

from .qwen2_checkpoints import QWEN2, qwen2_tokenizer, write_tokenizer

Make = Callable[..., tuple[Path, dict[str, np.ndarray]]]


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def edit_header(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + length :])


def config(**values: Any) -> Callable[[Path], None]:
    return lambda src: edit(src / "config.json", lambda c: c.update(values))


def truncated(src: Path) -> None:
    path = src / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def pickled(src: Path) -> None:
    (src / "model.safetensors").rename(src / "pytorch_model.bin")


def missing_shard(src: Path) -> None:
    index = {"weight_map": {"model.norm.weight": "model-00001-of-00002.safetensors"}}
    (src / "model.safetensors.index.json").write_text(json.dumps(index))


def index_names(name: str) -> Callable[[Path], None]:
    index = {"weight_map": {"model.norm.weight": name}}

    def write(src: Path) -> None:
        (src / "model.safetensors.index.json").write_text(json.dumps(index))

    return write


def a_fifo(src: Path) -> None:
    (src / "model.safetensors").unlink()
    os.mkfifo(src / "model.safetensors")


def index_promises_more(src: Path) -> None:
    index = {"weight_map": {"model.more.weight": "model.safetensors"}}
    (src / "model.safetensors.index.json").write_text(json.dumps(index))


def header(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    return lambda src: edit_header(src / "model.safetensors", change)


def tokenizer(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    return lambda src: edit(src / "tokenizer.json", change)


def other_regex(value: dict[str, Any]) -> None:
    value["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = r"\w+|\W+"


def disagreeing_tokens(src: Path) -> None:
    last = json.loads((src / "tokenizer.json").read_text())["added_tokens"][-1]["id"]
    decoder = {"added_tokens_decoder": {str(last): {"content": "<|other|>", "special": True}}}
    edit(src / "tokenizer_config.json", lambda c: c.update(decoder))


PROJ = "model.layers.0.mlp.up_proj"
NORM, EMBED = "model.norm.weight", "model.embed_tokens.weight"
BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no folder": (shutil.rmtree, "does not exist"),
    "no config": (lambda s: (s / "config.json").unlink(), "config.json is missing"),
    "config no json": (
        lambda s: (s / "config.json").write_text("{"),
        "config.json: line 1 is not JSON",
    ),
    "config a list": (lambda s: (s / "config.json").write_text("[]"), "must hold a JSON object"),
    "unknown architecture": (
        config(architectures=["MambaForCausalLM"]),
        "Gemma3ForConditionalGeneration, LlamaForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM; "
        "others are for llama.cpp's convert_hf_to_gguf.py",
    ),
    "no architecture": (config(architectures=None), "names no architecture"),
    "no hidden size": (config(hidden_size=None), "has no 'hidden_size'"),
    "text for a number": (config(num_hidden_layers="2"), "must be a positive integer"),
    "heads": (config(num_key_value_heads=3), "cannot share"),
    "rope": (config(rope_scaling={"type": "dynamic"}), "rope type 'dynamic' is not supported"),
    "quantized": (config(quantization_config={"bits": 4}), "convert the original checkpoint"),
    "quantized, told how": (
        config(quantization_config={"quant_method": "awq"}),
        "quantized weights (AWQ): convert the original",
    ),
    "quantized, in a list": (config(quantization_config=[{}]), "convert the original checkpoint"),
    "quantized by a list": (
        config(quantization_config={"quant_method": ["gptq"]}),
        "convert the original checkpoint",
    ),
    "does not fit gguf": (config(rms_norm_eps=1e300), "does not fit GGUF"),
    "only pickle": (pickled, "pickle files (pytorch_model.bin), which are never loaded"),
    "no weights": (lambda s: (s / "model.safetensors").unlink(), "holds no model*.safetensors"),
    "missing shard": (missing_shard, "model-00001-of-00002.safetensors is missing"),
    "index points outside": (
        index_names("../model.safetensors"),
        "must map tensors to file names",
    ),
    "index names NUL": (index_names("a\0"), "must map tensors to file names"),
    "index names half a character": (index_names("\ud800"), "must map tensors to file names"),
    "a FIFO": (a_fifo, "no regular file"),
    "index promises more": (index_promises_more, "lacks model.more.weight"),
    "truncated": (truncated, "is truncated"),
    "empty": (lambda s: (s / "model.safetensors").write_bytes(b""), "is truncated or no safe"),
    "huge header": (
        lambda s: (s / "model.safetensors").write_bytes(b"\xff" * 64),
        "is truncated or no safetensors file",
    ),
    "header no json": (
        lambda s: (s / "model.safetensors").write_bytes(b"\x02" + b"\0" * 7 + b"x{"),
        "broken safetensors header",
    ),
    "header entry": (header(lambda h: h[NORM].pop("shape")), "entry for model.norm.weight"),
    "negative offset": (
        header(lambda h: h[NORM].update(data_offsets=[-256, 0])),
        "entry for model.norm.weight is malformed",
    ),
    "wrong size": (header(lambda h: h[NORM].update(shape=[63])), "does not fit its shape"),
    "type a list": (header(lambda h: h[NORM].update(dtype=["F32"])), "is malformed"),
    "type a number": (header(lambda h: h[NORM].update(dtype=7)), "is malformed"),
    "shape a text": (header(lambda h: h[NORM].update(shape="64")), "is malformed"),
    "a name with an escape": (
        header(lambda h: h.update({"a\x1b[2J": h[NORM]})),
        r"'a\x1b[2J' is no name of a tensor",
    ),
    "loaded in 8 bits": (
        header(lambda h: h.update({f"{PROJ}.SCB": h[NORM]})),
        "from a model that was loaded in 8 bits (bitsandbytes): load it in 16 bits",
    ),
    "loaded in 4 bits": (
        header(lambda h: h.update({f"{PROJ}.weight.quant_state.bitsandbytes__nf4": h[NORM]})),
        "loaded in 4 bits (bitsandbytes)",
    ),
    "gptq": (header(lambda h: h.update({f"{PROJ}.qweight": h[NORM]})), "GPTQ or AWQ"),
    "fp8": (header(lambda h: h.update({f"{PROJ}.weight_scale_inv": h[NORM]})), "8 bits (fp8)"),
    "many layers": (config(num_hidden_layers=10**9), "1000000000 layers, of 512 at most"),
    "endless number": (config(num_hidden_layers=int("9" * 400)), "must be a positive integer"),
    "endless fraction": (config(rms_norm_eps=int("9" * 400)), "must be finite"),
    "no fraction": (config(rope_theta=float("nan")), "must be finite"),
    "rope a flag": (config(rope_scaling=True), "rope parameters are no JSON object"),
    "strange type": (header(lambda h: h[NORM].update(dtype="F8_E4M3")), "has type F8_E4M3"),
    "missing tensor": (header(lambda h: h.pop(NORM)), "lacks model.norm.weight"),
    "wrong shape": (config(vocab_size=641), "has shape [640, 64], but config.json makes it [641"),
    "strange tensor": (header(lambda h: h.update(odd=h[NORM])), "odd has no place in a qwen2"),
    "no head": (config(tie_word_embeddings=False), "lacks lm_head.weight"),
    "no tokenizer": (lambda s: (s / "tokenizer.json").unlink(), "tokenizer.json is missing"),
    "pre-tokenizer": (
        tokenizer(other_regex),
        "not recognised (known: llama-bpe, qwen2): state llama.cpp's",
    ),
    "no pre-tokenizer": (tokenizer(lambda t: t.update(pre_tokenizer=None)), "not recognised"),
    "normalizer": (
        tokenizer(lambda t: t.update(normalizer={"type": "Lowercase"})),
        "normalizes text (Lowercase)",
    ),
    "unigram": (tokenizer(lambda t: t["model"].update(type="Unigram")), "holds a Unigram"),
    "byte fallback": (tokenizer(lambda t: t["model"].update(byte_fallback=True)), "SentencePiece"),
    "no merges": (tokenizer(lambda t: t["model"].pop("merges")), "tokenizer.json is malformed"),
    "shared id": (tokenizer(lambda t: t["model"]["vocab"].update(zz=5)), "two tokens share one id"),
    "id too high": (tokenizer(lambda t: t["model"]["vocab"].update(zz=640)), "has 640 rows"),
    "tokens disagree": (disagreeing_tokens, "tokenizer_config.json disagree about token"),
}


@pytest.mark.parametrize(("spoil", "message"), BAD.values(), ids=BAD.keys())
def test_bad_source(
    checkpoint: Make, tmp_path: Path, spoil: Callable[[Path], Any], message: str
) -> None:
    src, _ = checkpoint()
    spoil(src)
    dst = tmp_path / "out" / "m.gguf"
    dst.parent.mkdir()
    dst.write_bytes(b"before")
    with pytest.raises(TrimixError) as caught:
        convert(src, dst, "f16", force=True)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [(p.name, p.read_bytes()) for p in dst.parent.iterdir()] == [("m.gguf", b"before")]


def test_bad_destination(checkpoint: Make, tmp_path: Path) -> None:
    src, _ = checkpoint()
    before = sorted(src.iterdir())
    (tmp_path / "m.gguf").write_bytes(b"before")
    for dst, message in (
        (tmp_path / "m.gguf", "exists already: choose another name, or overwrite with --force"),
        (tmp_path, "is a folder"),
        (src, "is a folder"),
        (tmp_path / "none" / "m.gguf", "is not a folder"),
    ):
        with pytest.raises(TrimixError, match=message):
            convert(src, dst, "f16")
    with pytest.raises(TrimixError, match="is a part of the source"):
        convert(src, src / "model.safetensors", "f16", force=True)
    with pytest.raises(TrimixError, match="unknown type 'q4'"):
        convert(src, tmp_path / "new.gguf", "q4")
    with pytest.raises(TrimixError, match="is no name of a pre-tokenizer"):
        convert(src, tmp_path / "new.gguf", "f16", pre="a b")
    assert (tmp_path / "m.gguf").read_bytes() == b"before"
    assert sorted(src.iterdir()) == before
    assert not (tmp_path / "new.gguf").exists()


def test_no_space(checkpoint: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    src, _ = checkpoint()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(TrimixError, match="not enough disk space"):
        convert(src, tmp_path / "m.gguf", "f16")
    assert [p for p in tmp_path.iterdir() if p.is_file()] == []


@pytest.mark.parametrize(
    ("failure", "seen", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), OSError, r"No space left .*m\.gguf"),
        (OSError(errno.EIO, "Input/output error"), OSError, r"Input/output error.*m\.gguf"),
        (KeyboardInterrupt(), KeyboardInterrupt, None),
    ],
)
def test_a_failure_on_the_way_leaves_nothing(
    checkpoint: Make,
    tmp_path: Path,
    failure: BaseException,
    seen: type[BaseException],
    message: str | None,
) -> None:
    src, _ = checkpoint()

    def fail(done: int, total: int) -> None:
        if done > total // 2:
            raise failure

    with pytest.raises(seen, match=message):
        convert(src, tmp_path / "m.gguf", "f16", progress=fail)
    assert [p for p in tmp_path.iterdir() if p.is_file()] == []


def test_a_source_cut_off_while_it_is_read(checkpoint: Make, tmp_path: Path) -> None:
    src, _ = checkpoint()

    def cut(done: int, total: int) -> None:
        with open(src / "model.safetensors", "rb+") as file:
            file.truncate(5000)

    with pytest.raises(TrimixError, match="is truncated"):
        convert(src, tmp_path / "m.gguf", "f16", progress=cut)
    assert not (tmp_path / "m.gguf").exists()


def test_values_beyond_f16_are_told(
    checkpoint: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    src, _ = checkpoint()
    path = src / "model.safetensors"
    tensor = read_safetensors(path)["model.layers.0.mlp.up_proj.weight"]
    with open(path, "rb+") as file:
        file.seek(tensor.offset)
        file.write(np.float32(1e5).tobytes())
    convert(src, tmp_path / "m.gguf", "f16")
    assert "blk.0.ffn_up.weight has values beyond the range of f16" in caplog.text


def test_pre_tokenizers_that_only_look_alike(checkpoint: Make, tmp_path: Path) -> None:
    src, _ = checkpoint()
    split, last = pre_tokenizers.Split, pre_tokenizers.ByteLevel(False, use_regex=False)
    for steps in (
        [split(Regex(QWEN2), "removed"), last],
        [split(Regex(QWEN2), "isolated", invert=True), last],
        [split(QWEN2, "isolated"), last],
        [split(Regex(QWEN2), "isolated"), pre_tokenizers.ByteLevel(True, use_regex=False)],
        [split(Regex(QWEN2), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=True)],
        [pre_tokenizers.Digits(), split(Regex(QWEN2), "isolated"), last],
        [last],
    ):
        tokenizer = qwen2_tokenizer()
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
        write_tokenizer(src, tokenizer)
        with pytest.raises(TrimixError, match="not recognised"):
            convert(src, tmp_path / "m.gguf", "f16")
    tokenizer = qwen2_tokenizer()
    tokenizer.model.ignore_merges = True
    tokenizer.normalizer = normalizers.NFC()
    write_tokenizer(src, tokenizer)
    with pytest.raises(TrimixError, match="not recognised"):
        convert(src, tmp_path / "m.gguf", "f16")


def test_command(checkpoint: Make, tmp_path: Path) -> None:
    src, _ = checkpoint()
    dst = tmp_path / "m.gguf"
    result = CliRunner().invoke(command, [str(src), str(dst), "--outtype", "q8_0"])
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{dst}: qwen2, q8_0, {size_text(dst.stat().st_size)}\n"
    again = CliRunner().invoke(command, [str(src), str(dst)])
    assert isinstance(again.exception, TrimixError)
    assert CliRunner().invoke(command, [str(src), str(dst), "--force"]).exit_code == 0
    assert CliRunner().invoke(command, [str(src), str(dst), "--outtype", "q4"]).exit_code == 2
