"""PEFT adapters become GGUF adapters that add to a model what PEFT adds to it."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gguf
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from trimix_cpp.commands.convert import command
from trimix_cpp.convert import OUTTYPES, convert
from trimix_cpp.convert.lora import convert_lora
from trimix_cpp.errors import ModelFileError, TrimixError, UsageError
from trimix_cpp.gguf.lora import read_adapter
from trimix_cpp.gguf.reader import read_header, read_tables
from trimix_cpp.showing import size_text

from ..support.examples import examples
from ..support.tiny import finish
from .adapters import ATTENTION, added, logits, matrices, write_adapter
from .families import FAMILIES
from .qwen2_checkpoints import write_checkpoint
from .test_errors import edit, edit_header

Make = Callable[..., tuple[Path, dict[str, np.ndarray]]]

WHOLE = ("_proj", "lm_head", "embed_tokens")
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "bfloat16": {"dtype": "bfloat16"},
    "float16": {"dtype": "float16"},
    "rank-stabilized": {"use_rslora": True},
    "ranks": {"rank": lambda module: 8 if "layers.1" in module else 3},
    "ranks, stabilized": {
        "rank": lambda module: 8 if "layers.1" in module else 3, "use_rslora": True,
    },
    "alphas": {"alpha_pattern": {r"layers\.1\.mlp\.up_proj": 1, "q_proj": 20.5, "lm_head": 3}},
}  # fmt: skip


def split(options: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if key not in ("dtype", "rank")}


def values(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a GGUF file, float32, as NumPy has their shapes."""
    tensors = gguf.GGUFReader(path).tensors
    return {t.name: gguf.quants.dequantize(t.data, t.tensor_type) for t in tensors}


def deltas(path: Path) -> dict[str, np.ndarray]:
    """What llama.cpp adds to each matrix: alpha / rank * b a (`llama_adapter_lora_weight`)."""
    tensors, out = values(path), {}
    alpha = read_tables(path).metadata["adapter.lora.alpha"]
    for name in [n.removesuffix(".lora_a") for n in tensors if n.endswith(".lora_a")]:
        a, b = tensors[f"{name}.lora_a"].astype(np.float64), tensors[f"{name}.lora_b"]
        scale = alpha / b.shape[-1]
        out[name] = scale * (a @ b.T if name == "token_embd.weight" else b @ a)
    return out


def merged(
    src: Path, dst: Path, tensors: dict[str, np.ndarray], add: dict[str, np.ndarray]
) -> Path:
    """The checkpoint `src` with `add` added to its weights."""
    shutil.copytree(src, dst)
    whole = {n: t + add.get(n.removesuffix(".weight"), 0) for n, t in tensors.items()}
    save_file({n: t.astype(np.float32) for n, t in whole.items()}, dst / "model.safetensors")
    return dst


def base_of(checkpoint: Make, family: str, *, tied: bool = False) -> tuple[Path, Any, Any]:
    """A base's folder, its weights, and the matrices of it that an adapter may change."""
    choice = {} if family == "qwen2" else {"family": family}
    tied = tied or family.startswith("gemma")
    src, weights = checkpoint(tied=tied, **choice)
    return src, weights, matrices(weights, *WHOLE[: 1 if tied else 3])


@pytest.mark.parametrize(
    ("family", "options"),
    [("qwen2", options) for options in KINDS.values()] + [(name, {}) for name in FAMILIES],
    ids=[*KINDS, *FAMILIES],
)
def test_the_adapter_adds_what_merging_adds(
    checkpoint: Make, tmp_path: Path, family: str, options: dict[str, Any]
) -> None:
    src, weights, modules = base_of(checkpoint, family)
    pairs = write_adapter(tmp_path / "lora", modules, **options)
    add = added(pairs, **split(options))
    if options.get("dtype") == "float16":
        rounded = {m: tuple(x.astype(np.float16) for x in pair) for m, pair in pairs.items()}
        add = added(rounded, **split(options))
    whole = convert(merged(src, tmp_path / "whole", weights, add), tmp_path / "whole.gguf", "f32")
    base = convert(src, tmp_path / "base.gguf", "f32")
    convert_lora(tmp_path / "lora", tmp_path / "lora.gguf", src)
    before, after = values(base.path), values(whole.path)
    told = deltas(tmp_path / "lora.gguf")
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert told.keys() == changed
    for name, delta in told.items():
        np.testing.assert_allclose(before[name] + delta, after[name], atol=2e-6)


@pytest.mark.parametrize(
    ("family", "tied"), [("qwen2", True), ("qwen2", False), *((name, False) for name in FAMILIES)]
)
def test_logits_with_the_adapter_equal_the_merged_model(
    checkpoint: Make, tmp_path: Path, family: str, tied: bool
) -> None:
    src, weights, modules = base_of(checkpoint, family, tied=tied)
    # llama.cpp looks Gemma's GELU up in a table of half floats: a larger change is rounded more.
    scale = 0.1 if family.startswith("gemma") else 0.3
    pairs = write_adapter(tmp_path / "lora", modules, scale=scale)
    whole = merged(src, tmp_path / "whole", weights, added(pairs))
    lora = convert_lora(tmp_path / "lora", tmp_path / "lora.gguf", src).path
    convert(src, tmp_path / "base.gguf", "f32")
    convert(whole, tmp_path / "whole.gguf", "f32")
    ids = np.random.default_rng(1).integers(0, 600, 48)
    rows = [
        logits(tmp_path / "base.gguf", ids, lora),
        logits(tmp_path / "whole.gguf", ids, None),
        logits(tmp_path / "base.gguf", ids, None),
    ]
    np.testing.assert_allclose(rows[0], rows[1], atol=1e-3)
    assert np.abs(rows[0] - rows[2]).max() > 0.1


@given(
    ranks=st.lists(st.integers(1, 9), min_size=8, max_size=8),
    alpha=st.floats(0.01, 500),
    own=st.dictionaries(st.sampled_from(["q_proj", "v_proj", "layers.0"]), st.floats(0.1, 64)),
    stabilized=st.booleans(),
)
@settings(max_examples=examples(25), suppress_health_check=list(HealthCheck))
def test_any_ranks_and_alphas(
    tmp_path_factory: pytest.TempPathFactory,
    ranks: list[int],
    alpha: float,
    own: dict[str, float],
    stabilized: bool,
) -> None:
    folder = tmp_path_factory.mktemp("any")
    weights = write_checkpoint(folder / "base")
    modules = matrices(weights, *ATTENTION)
    patterns = {(f"{p}.*" if p == "layers.0" else p): a for p, a in own.items()}
    config = {"lora_alpha": alpha, "alpha_pattern": patterns, "use_rslora": stabilized}
    by_module = dict(zip(modules, ranks, strict=True))
    pairs = write_adapter(folder / "lora", modules, rank=by_module.__getitem__, **config)
    path = convert_lora(folder / "lora", folder / "lora.gguf", folder / "base").path
    assert read_tables(path).metadata["general.type"] == "adapter"
    # Both in the order of the modules' names.
    wanted = [delta for _, delta in sorted(added(pairs, **config).items())]
    for told, delta in zip(deltas(path).values(), wanted, strict=True):
        np.testing.assert_allclose(told, delta, rtol=1e-5, atol=1e-5 * np.abs(delta).max())


@pytest.mark.parametrize(
    ("family", "outtype"),
    [("qwen2", outtype) for outtype in OUTTYPES] + [(name, "f16") for name in FAMILIES],
)
def test_the_base_may_be_a_folder_or_a_gguf_file(
    checkpoint: Make, tmp_path: Path, family: str, outtype: str
) -> None:
    src, _, modules = base_of(checkpoint, family)
    folder, bare = tmp_path / "lora", tmp_path / "bare"
    bare.mkdir()
    shutil.copy(src / "config.json", bare)
    write_adapter(folder, modules, base_model_name_or_path=str(src))
    base = convert(src, tmp_path / "base.gguf", "q8_0").path
    files = []
    for given_base in (None, src, bare, base):
        path = tmp_path / "lora.gguf"
        done = convert_lora(folder, path, given_base, outtype, force=True)
        assert done.architecture == ("llama" if family.startswith("llama") else family)
        assert done.tensors == 2 * len(modules)
        files.append(path.read_bytes())
    assert len(set(files)) == 1
    read_adapter(path, read_header(base))


def test_a_multimodal_base_is_adapted_in_its_text_model(checkpoint: Make, tmp_path: Path) -> None:
    src, _, modules = base_of(checkpoint, "gemma3")
    write_adapter(tmp_path / "plain" / "lora", modules)
    plain = convert_lora(tmp_path / "plain" / "lora", tmp_path / "plain.gguf", src).path
    whole, _ = checkpoint("whole", family="gemma3", text_config=True)
    for name in ("model.language_model.{}", "language_model.model.{}"):
        inside = {name.format(m.removeprefix("model.")): shape for m, shape in modules.items()}
        seen = {"model.vision_tower.vision_model.encoder.layers.0.mlp.fc1": (8, 8)}
        write_adapter(tmp_path / name / "lora", {**inside, **seen})
        path = convert_lora(
            tmp_path / name / "lora", tmp_path / "whole.gguf", whole, force=True
        ).path
        assert path.read_bytes() == plain.read_bytes()


def test_an_adapter_of_a_class_without_a_head_gives_the_same_file(
    checkpoint: Make, tmp_path: Path
) -> None:
    src, _, modules = base_of(checkpoint, "qwen2")
    files = []
    for name, prefix in (("whole", "model."), ("bare", "")):
        own = {m.replace("model.", prefix): s for m, s in modules.items() if m != "lm_head"}
        write_adapter(tmp_path / name / "lora", own)
        made = convert_lora(tmp_path / name / "lora", tmp_path / f"{name}.gguf", src)
        files.append(made.path.read_bytes())
    assert files[0] == files[1]


def test_copies_of_the_embedding_are_left_out(checkpoint: Make, tmp_path: Path) -> None:
    """PEFT saves the base's own embedding beside an adapter on it."""
    src, weights = checkpoint(tied=False)
    folder = tmp_path / "lora"
    write_adapter(folder, matrices(weights, "embed_tokens"))
    plain = convert_lora(folder, tmp_path / "plain.gguf", src).path.read_bytes()
    path = folder / "adapter_model.safetensors"
    copy = {"base_model.model.model.embed_tokens.base_layer.weight": weights[EMBED]}
    save_file({**load_file(path), **copy}, path)
    assert convert_lora(folder, tmp_path / "copy.gguf", src).path.read_bytes() == plain


EMBED = "model.embed_tokens.weight"
Q = "base_model.model.model.layers.0.self_attn.q_proj"


def config(**changes: Any) -> Callable[[Path], None]:
    return lambda s: edit(s / "lora" / "adapter_config.json", lambda c: c.update(changes))


def header(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    return lambda s: edit_header(s / "lora" / "adapter_model.safetensors", change)


def base(**changes: Any) -> Callable[[Path], None]:
    return lambda s: edit(s / "checkpoint" / "config.json", lambda c: c.update(changes))


def rename(old: str, new: str) -> Callable[[Path], None]:
    return header(lambda h: h.update({new: h.pop(old)}))


def cut(s: Path) -> None:
    path = s / "lora" / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def pickled(s: Path) -> None:
    path = s / "lora" / "adapter_model.safetensors"
    path.rename(path.with_suffix(".bin"))


def without(name: str) -> Callable[[Path], None]:
    return lambda s: (s / "lora" / name).unlink()


BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no folder": (lambda s: shutil.rmtree(s / "lora"), "does not exist: name the folder of a PEFT"),
    "no config": (without("adapter_config.json"), "adapter_config.json is missing"),
    "config no json": (
        lambda s: (s / "lora" / "adapter_config.json").write_text("{"), "line 1 is not JSON",
    ),
    "no weights": (without("adapter_model.safetensors"), "adapter_model.safetensors is missing"),
    "only pickle": (pickled, "only a pickle file (adapter_model.bin), which is never loaded"),
    "truncated": (cut, "is truncated"),
    "other tuner": (config(peft_type="IA3"), "of the type 'IA3', not a LoRA"),
    "no type": (config(peft_type=None), "of the type None, not a LoRA"),
    "dora": (config(use_dora=True), "cannot express 'use_dora': merge the adapter"),
    "saved modules": (config(modules_to_save=["lm_head"]), "cannot express 'modules_to_save'"),
    "biases": (config(bias="lora_only"), "cannot express 'bias'"),
    "activated": (config(alora_invocation_tokens=[1]), "express 'alora_invocation_tokens'"),
    "pissa": (config(init_lora_weights="pissa_niter_4"), "('pissa_niter_4') changed the base's"),
    "alpha 0": (config(lora_alpha=0), "'lora_alpha' is 0, but must be positive"),
    "alpha text": (config(lora_alpha="x"), "'lora_alpha' is 'x', but must be a number"),
    "alpha infinite": (config(lora_alpha=float("inf")), "'lora_alpha' is inf"),
    "alphas a list": (config(alpha_pattern=[1]), "'alpha_pattern' is no JSON object"),
    "alphas no regex": (config(alpha_pattern={"(": 1}), "'alpha_pattern' is malformed"),
    "strange tensor": (
        rename(f"{Q}.lora_A.weight", f"{Q}.weight"), "q_proj.weight' is no LoRA matrix",
    ),
    "a line in a name": (rename(f"{Q}.lora_A.weight", "a\nb"), r"'a\nb' is no name of a tensor"),
    "one half": (header(lambda h: h.pop(f"{Q}.lora_B.weight")), "only one of the two matrices"),
    "nothing": (header(lambda h: h.clear()), "holds no LoRA matrices"),
    "unknown module": (
        header(lambda h: h.update(
            {f"{Q}x.lora_{x}.weight": h.pop(f"{Q}.lora_{x}.weight") for x in "AB"}
        )),
        "q_projx' is no matrix of a qwen2 model",
    ),
    "other rank": (
        header(lambda h: h[f"{Q}.lora_A.weight"].update(shape=[2, 128])), "has the shapes [2, 128]",
    ),
    "other base": (base(hidden_size=128), "do not make up the [128, 128] of"),
    "fewer layers": (base(num_hidden_layers=1), "layers.1.mlp.down_proj' is no matrix"),
    "unknown family": (base(architectures=["MambaForCausalLM"]), "holds a MambaForCausalLM"),
    "no base config": (
        lambda s: (s / "checkpoint" / "config.json").unlink(), "config.json is missing",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "message"), BAD.values(), ids=BAD.keys())
def test_bad_source(
    checkpoint: Make, tmp_path: Path, spoil: Callable[[Path], Any], message: str
) -> None:
    src, weights = checkpoint()
    write_adapter(tmp_path / "lora", matrices(weights))
    spoil(tmp_path)
    dst = tmp_path / "out" / "lora.gguf"
    dst.parent.mkdir()
    dst.write_bytes(b"before")
    with pytest.raises(TrimixError) as caught:
        convert_lora(tmp_path / "lora", dst, src, force=True)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [(p.name, p.read_bytes()) for p in dst.parent.iterdir()] == [("lora.gguf", b"before")]


@pytest.mark.parametrize("module", ["embed_tokens", "lm_head"])
def test_tied_embeddings_cannot_be_changed(checkpoint: Make, tmp_path: Path, module: str) -> None:
    src, weights = checkpoint(tied=True, lm_head=True)
    write_adapter(tmp_path / "lora", matrices(weights, module))
    tied = convert(checkpoint("tied", tied=True)[0], tmp_path / "tied.gguf", "f32").path
    for base_model in (src, tied):
        with pytest.raises(TrimixError, match=r"one matrix for the embedding .* merge the adapter"):
            convert_lora(tmp_path / "lora", tmp_path / "lora.gguf", base_model)
    # A head that a trainer saved all the same stands in the GGUF file, and can be changed.
    own_head = convert(src, tmp_path / "head.gguf", "f32").path
    assert convert_lora(tmp_path / "lora", tmp_path / "lora.gguf", own_head).tensors == 2


def test_bad_base_and_destination(checkpoint: Make, tmp_path: Path) -> None:
    src, weights = checkpoint()
    folder, dst = tmp_path / "lora", tmp_path / "new.gguf"
    write_adapter(folder, matrices(weights))
    base_file = convert(src, tmp_path / "base.gguf", "f32").path
    before = base_file.read_bytes()
    with pytest.raises(TrimixError, match="was trained on 'somebody/tiny': name that model's"):
        convert_lora(folder, dst)
    with pytest.raises(ModelFileError, match="no such file"):
        convert_lora(folder, dst, tmp_path / "none")
    with pytest.raises(ModelFileError, match="not a GGUF file"):
        convert_lora(folder, dst, src / "config.json")
    with pytest.raises(TrimixError, match="exists already"):
        convert_lora(folder, base_file, src)
    for target in (base_file, folder / "adapter_model.safetensors"):
        with pytest.raises(TrimixError, match="is a part of the source"):
            convert_lora(folder, target, base_file, force=True)
    with pytest.raises(TrimixError, match="unknown type 'q4'"):
        convert_lora(folder, dst, src, "q4")
    with pytest.raises(TrimixError, match="is a file: name the folder"):
        convert_lora(base_file, dst, src)
    shorter = {n: t for n, t in weights.items() if "layers.1" not in n}
    small = tmp_path / "small"
    shutil.copytree(src, small)
    save_file(shorter, small / "model.safetensors")
    edit(small / "config.json", lambda c: c.update(num_hidden_layers=1))
    convert(small, tmp_path / "small.gguf", "f32")
    with pytest.raises(TrimixError, match=r"layers\.1.* is no matrix"):
        convert_lora(folder, dst, tmp_path / "small.gguf")
    assert base_file.read_bytes() == before
    assert not dst.exists()


def test_a_gguf_base_with_other_tensors(checkpoint: Make, tmp_path: Path) -> None:
    """llama.cpp's converter can join q, k and v into one, which the adapter does not know."""
    src, weights = checkpoint()
    write_adapter(tmp_path / "lora", matrices(weights))
    reader = gguf.GGUFReader(convert(src, tmp_path / "base.gguf", "f32").path)
    writer = gguf.GGUFWriter(tmp_path / "joined.gguf", "qwen2")
    for key, item in reader.fields.items():
        if key.startswith("qwen2."):
            writer.add_key_value(key, item.contents(), item.types[0])
    for tensor in reader.tensors:
        if "attn_q" not in tensor.name:
            writer.add_tensor(tensor.name, np.array(tensor.data))
    for layer in range(2):
        writer.add_tensor(f"blk.{layer}.attn_qkv.weight", np.zeros((128, 64), np.float32))
    joined = finish(writer, tmp_path / "joined.gguf")
    with pytest.raises(TrimixError, match=r"q_proj, which .*joined\.gguf lacks: another base"):
        convert_lora(tmp_path / "lora", tmp_path / "lora.gguf", joined)


def test_no_space_and_interruption_leave_nothing(
    checkpoint: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    src, weights = checkpoint()
    write_adapter(tmp_path / "lora", matrices(weights))
    dst = tmp_path / "out" / "lora.gguf"
    dst.parent.mkdir()
    steps = 0

    def count(done: int, total: int) -> None:
        nonlocal steps
        steps += 1

    convert_lora(tmp_path / "lora", dst, src, progress=count)
    dst.unlink()
    full = OSError(errno.ENOSPC, "No space left on device")
    for failure, seen in ((KeyboardInterrupt(), KeyboardInterrupt), (full, OSError)):
        for point in range(steps):
            calls = iter(range(steps))

            def fail(
                done: int, total: int, failure: BaseException = failure, point: int = point,
                calls: Any = calls,
            ) -> None:  # fmt: skip
                if next(calls) == point:
                    raise failure

            with pytest.raises(seen):
                convert_lora(tmp_path / "lora", dst, src, progress=fail)
            assert list(dst.parent.iterdir()) == []
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(TrimixError, match="not enough disk space"):
        convert_lora(tmp_path / "lora", dst, src)
    assert list(dst.parent.iterdir()) == []


def test_command(checkpoint: Make, tmp_path: Path) -> None:
    src, weights = checkpoint()
    write_adapter(tmp_path / "lora", matrices(weights))
    dst = tmp_path / "lora.gguf"
    arguments = [str(tmp_path / "lora"), str(dst), "--lora", "--base", str(src)]
    result = CliRunner().invoke(command, arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{dst}: LoRA for qwen2, f32, {size_text(dst.stat().st_size)}\n"
    assert CliRunner().invoke(command, [*arguments, "--outtype", "f16", "--force"]).exit_code == 0
    for wrong, kind in (
        ([str(src), str(dst), "--base", str(src)], UsageError),
        ([*arguments, "--pre", "qwen2"], UsageError),
        ([str(tmp_path / "lora"), str(tmp_path / "x.gguf"), "--lora"], TrimixError),
    ):
        assert isinstance(CliRunner().invoke(command, wrong).exception, kind)
    adapter_alone = CliRunner().invoke(command, [str(tmp_path / "lora"), str(tmp_path / "x.gguf")])
    assert "--lora" in str(adapter_alone.exception)


def test_the_adapters_card_is_kept(checkpoint: Make, tmp_path: Path) -> None:
    src, weights = checkpoint()
    folder = tmp_path / "qwen-ug-lora"
    write_adapter(folder, matrices(weights))
    (folder / "README.md").write_text(
        "---\nlicense: apache-2.0\nlanguage: [ug]\nbase_model: Qwen/Qwen2.5-1.5B\n---\n"
    )
    metadata = read_tables(convert_lora(folder, tmp_path / "l.gguf", src).path).metadata
    assert metadata["general.license"] == "apache-2.0"
    assert metadata["general.base_model.0.repo_url"] == "https://huggingface.co/Qwen/Qwen2.5-1.5B"
    assert (
        metadata["adapter.lora.alpha"]
        == json.loads((folder / "adapter_config.json").read_text())["lora_alpha"]
    )
