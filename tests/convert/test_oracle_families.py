"""Llama, Qwen3 and Gemma against llama.cpp's own converter, and against transformers.

See `oracle.py` for what these need.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from tokenizers import Tokenizer

from trimix_cpp.convert import OUTTYPES, convert
from trimix_cpp.llama.model import Model

from .families import FAMILIES, LLAMA3_ROPE, ROWS, write_tokenizer_of
from .languages import TEXTS
from .oracle import differences, llama_logits, official

pytestmark = pytest.mark.slow
Make = Callable[..., tuple[Path, dict[str, np.ndarray]]]

LINEAR = {"rope_type": "linear", "factor": 8.0}
SLIDING = ["sliding_attention"] * 5 + ["full_attention", "sliding_attention"]
# Transformers 5 gathers what transformers 4 had in several keys.
FIVE_LLAMA = {"rope_theta": None, "rope_parameters": {"rope_theta": 5e5, **LLAMA3_ROPE}}
FIVE_GEMMA: dict[str, Any] = {
    "rope_theta": None, "rope_local_base_freq": None, "layer_types": SLIDING,
    "rope_parameters": {
        "full_attention": {"rope_theta": 1e6, **LINEAR},
        "sliding_attention": {"rope_theta": 2e4, "rope_type": "default"},
    },
}  # fmt: skip
BARE_GEMMA: dict[str, Any] = dict.fromkeys(
    ["rope_theta", "rope_local_base_freq", "max_position_embeddings", "rms_norm_eps",
     "hidden_activation"],
)  # fmt: skip
BARE_GEMMA2: dict[str, Any] = BARE_GEMMA | dict.fromkeys(
    ["attn_logit_softcapping", "final_logit_softcapping", "sliding_window"]
)
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
# Of the random weights where logits are compared. llama.cpp looks GELU up in a table of F16 values,
# so that a Gemma with large activations is further off than 1e-3.
DEVIATION = {"llama": 0.2, "qwen3": 0.2, "gemma": 0.02}
# The pre-tokenizer that the original is told, where it is not Llama 3's.
PRE = {"qwen3": "qwen2"}
# Family, then options of `write_family`.
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama 2": ("llama2", {"tied": False, "model_file": True}),
    "llama 2 in shards": (
        "llama2", {"dtype": "bfloat16", "shards": 3, "tied": False, "model_file": True},
    ),
    "llama 2, one key-value head a head": (
        "llama2", {"model_file": True, "config": {"num_key_value_heads": 4}, "tied": False},
    ),
    "llama 3": ("llama3", {"tied": False}),
    "llama 3, tied": ("llama3", {}),
    "llama 3, duplicated head": ("llama3", {"lm_head": True, "dtype": "float16"}),
    "llama 3, rope": ("llama3", {"config": {"rope_theta": 5e5, "rope_scaling": LLAMA3_ROPE}}),
    "llama 3, rope, transformers 5": ("llama3", {"config": FIVE_LLAMA, "shards": 2}),
    "llama 3, wide heads": ("llama3", {"config": {"head_dim": 48, "rope_scaling": LLAMA3_ROPE}}),
    "llama 3, biases": ("llama3", {"config": {"attention_bias": True, "mlp_bias": True}}),
    "qwen 3": ("qwen3", {"tied": False}),
    "qwen 3, tied, in shards": ("qwen3", {"dtype": "bfloat16", "shards": 3}),
    "qwen 3, duplicated head": ("qwen3", {"lm_head": True, "dtype": "float16"}),
    "qwen 3, heads of 128 by default": (
        "qwen3",
        {"config": {"head_dim": None, "hidden_size": 512}, "tied": False},
    ),
    "qwen 3, yarn": ("qwen3", {"config": {"rope_scaling": YARN}}),
    "gemma 2": ("gemma2", {"model_file": True}),
    "gemma 2 in shards": ("gemma2", {"dtype": "bfloat16", "shards": 3, "model_file": True}),
    "gemma 2, duplicated head": ("gemma2", {"lm_head": True, "model_file": True}),
    "gemma 2, only what has no default": ("gemma2", {"config": BARE_GEMMA2, "model_file": True}),
    "gemma 3": ("gemma3", {"model_file": True}),
    "gemma 3 in shards": ("gemma3", {"dtype": "bfloat16", "shards": 3, "model_file": True}),
    "gemma 3, duplicated head": ("gemma3", {"lm_head": True, "model_file": True}),
    "gemma 3, linear": ("gemma3", {"config": {"rope_scaling": LINEAR}, "model_file": True}),
    "gemma 3, transformers 5": ("gemma3", {"config": FIVE_GEMMA, "model_file": True}),
    "gemma 3, only what has no default": ("gemma3", {"config": BARE_GEMMA, "model_file": True}),
    "gemma 3, soft cap": (
        "gemma3", {"config": {"final_logit_softcapping": 30.0}, "model_file": True},
    ),
    "gemma 3, multimodal": (
        "gemma3", {"text_config": True, "prefix": "language_model.", "model_file": True},
    ),
}  # fmt: skip


EVERY_TYPE = ("llama 2", "llama 3, rope", "qwen 3", "gemma 2", "gemma 3")


@pytest.mark.parametrize(
    ("case", "outtype"),
    [(case, "f32") for case in CASES]
    + [(case, outtype) for case in EVERY_TYPE for outtype in OUTTYPES if outtype != "f32"],
)
def test_same_file_as_llama_cpp(checkpoint: Make, tmp_path: Path, case: str, outtype: str) -> None:
    family, options = CASES[case]
    src, _ = checkpoint("tiny-model", family=family, **options)
    (src / "generation_config.json").write_text('{"temperature": 0.7, "top_k": 20}')
    (src / "README.md").write_text("---\nlicense: llama2\nlanguage: [bo]\n---\n")
    theirs = official(src, tmp_path / "theirs.gguf", outtype, pre=PRE.get(family, "llama-bpe"))
    ours = convert(src, tmp_path / "ours.gguf", outtype).path
    found = differences(ours, theirs)
    if found == ["rope_freqs.weight"]:  # torch's powers may differ in the last bit
        readers = (gguf.GGUFReader(path) for path in (ours, theirs))
        a, b = (next(t.data for t in r.tensors if t.name == found[0]) for r in readers)
        np.testing.assert_allclose(a, b, rtol=1e-6)
        found = []
    assert found == []


@pytest.mark.parametrize("family", ["llama2", "gemma3"])
def test_the_vocabulary_of_tokenizer_json_is_that_of_tokenizer_model(
    checkpoint: Make, tmp_path: Path, family: str
) -> None:
    src, _ = checkpoint("tiny-model", family=family, tied=family == "gemma3", model_file=True)
    theirs = official(src, tmp_path / "theirs.gguf", "f32")
    (src / "tokenizer.model").unlink()
    ours = convert(src, tmp_path / "ours.gguf", "f32").path
    assert differences(ours, theirs) == []


def test_without_tokenizer_model_only_the_scores_differ(checkpoint: Make, tmp_path: Path) -> None:
    """Theirs are -1000 for all tokens, with which llama.cpp merges from left to right."""
    src, _ = checkpoint("tiny-model", family="llama2", tied=False)
    # The converter asks transformers for the vocabulary, which has no place for padding.
    theirs = official(src, tmp_path / "theirs.gguf", "f32")
    ours = convert(src, tmp_path / "ours.gguf", "f32").path
    keys = {difference.partition(":")[0] for difference in differences(ours, theirs)}
    assert "tokenizer.ggml.scores" in keys
    assert set(gguf.GGUFReader(theirs).fields["tokenizer.ggml.scores"].contents()) == {-1000.0}
    assert keys <= {f"tokenizer.ggml.{key}" for key in ("scores", "tokens", "token_type")}
    tokenizer = Tokenizer.from_file(str(src / "tokenizer.json"))
    wrong = {}
    for path in (ours, theirs):
        with Model(path, vocab_only=True) as model:
            found = [model.tokenize(text) for text in TEXTS]
        expected = [tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS]
        wrong[path] = sum(a != b for a, b in zip(found, expected, strict=True))
    assert wrong[ours] == 0 < wrong[theirs]


def test_gemma_without_tokenizer_model_becomes_another_kind(
    checkpoint: Make, tmp_path: Path
) -> None:
    src, _ = checkpoint("tiny-model", family="gemma3")
    theirs = official(src, tmp_path / "theirs.gguf", "f32", pre="default")
    keys = gguf.GGUFReader(theirs).fields
    assert keys["tokenizer.ggml.model"].contents() == "gpt2"


def test_sentencepiece_reads_the_same_tokens(checkpoint: Make, tmp_path: Path) -> None:
    sentencepiece = pytest.importorskip("sentencepiece")
    for family in ("llama2", "gemma3"):
        src, _ = checkpoint(family, family=family, model_file=True)
        processor = sentencepiece.SentencePieceProcessor(model_file=str(src / "tokenizer.model"))
        convert(src, tmp_path / f"{family}.gguf", "f16")
        with Model(tmp_path / f"{family}.gguf", vocab_only=True) as model:
            for text in TEXTS:
                assert model.tokenize(text) == processor.encode(text), text


def transformers_models() -> dict[str, Callable[[Any], Any]]:
    small = {
        "vocab_size": ROWS, "hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 256,
    }  # fmt: skip
    gemma = {
        **small, "num_hidden_layers": 7, "head_dim": 32, "query_pre_attn_scalar": 32,
        "sliding_window": 16,
    }  # fmt: skip
    vision = {
        "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "image_size": 32,
        "num_attention_heads": 2, "patch_size": 16,
    }  # fmt: skip

    def llama(t: Any, **more: Any) -> Any:
        return t.LlamaForCausalLM(t.LlamaConfig(**small, num_hidden_layers=2, **more))

    def multimodal(t: Any) -> Any:
        config = t.Gemma3Config(
            text_config=t.Gemma3TextConfig(**gemma, rope_scaling=dict(LINEAR)),
            vision_config=t.SiglipVisionConfig(**vision), mm_tokens_per_image=4,
        )  # fmt: skip
        return t.Gemma3ForConditionalGeneration(config)

    return {
        "llama2": lambda t: llama(t, attention_bias=True),
        "llama3": lambda t: llama(
            t, tie_word_embeddings=True, rope_theta=5e5, rope_scaling=dict(LLAMA3_ROPE)
        ),
        "qwen3": lambda t: t.Qwen3ForCausalLM(
            t.Qwen3Config(**small, num_hidden_layers=2, head_dim=32)
        ),
        "gemma2": lambda t: t.Gemma2ForCausalLM(
            # The kernels of attention that need no softcap are not used.
            t.Gemma2Config(**{**gemma, "num_hidden_layers": 4}, attn_implementation="eager")
        ),
        "gemma3": lambda t: t.Gemma3ForCausalLM(t.Gemma3TextConfig(**gemma)),
        "gemma3, multimodal": multimodal,
    }


@pytest.fixture(params=transformers_models())
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Any]:
    """A folder that transformers saved, with our tokenizer; and the model, in float32."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    model = transformers_models()[request.param](transformers).float().eval()
    with torch.no_grad():
        for weights in model.parameters():
            weights.normal_(0, DEVIATION[request.param[:5]])
    folder = tmp_path / "tiny-model"
    model.save_pretrained(folder)
    write_tokenizer_of(folder, request.param.split(",")[0], model=True)
    return folder, model


def test_same_file_from_what_transformers_saves(saved: tuple[Path, Any], tmp_path: Path) -> None:
    src, model = saved
    pre = PRE.get(model.config.model_type, "llama-bpe")
    theirs = official(src, tmp_path / "theirs.gguf", "f16", pre=pre)
    ours = convert(src, tmp_path / "ours.gguf", "f16").path
    assert differences(ours, theirs) == []


def test_logits_equal_those_of_transformers(saved: tuple[Path, Any], tmp_path: Path) -> None:
    import torch

    src, model = saved
    ids = np.random.default_rng(1).integers(0, 700, 48)  # beyond the window of 16
    with torch.no_grad():
        expected = model(torch.from_numpy(ids)[None]).logits[0].numpy()
    convert(src, tmp_path / "m.gguf", "f32")
    assert np.abs(llama_logits(tmp_path / "m.gguf", ids) - expected).max() < 1e-3


@pytest.mark.parametrize("family", ["llama2", "llama3", "qwen3", "gemma2", "gemma3"])
def test_older_spellings_give_the_same_logits(
    checkpoint: Make, tmp_path: Path, family: str
) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    config = {"llama3": {"rope_scaling": LLAMA3_ROPE}, "gemma3": {"rope_scaling": LINEAR}}
    tied, scale = family != "llama2", DEVIATION[family[:5]]
    src, _ = checkpoint(family=family, config=config.get(family), tied=tied, scale=scale)
    model = transformers.AutoModelForCausalLM.from_pretrained(src, dtype=torch.float32)
    ids = np.random.default_rng(1).integers(0, 700, 48)
    with torch.no_grad():
        expected = model(torch.from_numpy(ids)[None]).logits[0].numpy()
    convert(src, tmp_path / "m.gguf", "f32")
    assert np.abs(llama_logits(tmp_path / "m.gguf", ids) - expected).max() < 1e-3


def test_saved_tokenizers_of_transformers_5(checkpoint: Make, tmp_path: Path) -> None:
    """Saved anew, a tokenizer has other files: the vocabulary and the tokens stay the same."""
    transformers = pytest.importorskip("transformers")
    for family in FAMILIES:
        src, _ = checkpoint(family, family=family)
        convert(src, tmp_path / "before.gguf", "f32", force=True)
        transformers.AutoTokenizer.from_pretrained(src).save_pretrained(src)
        assert "added_tokens_decoder" not in json.loads((src / "tokenizer_config.json").read_text())
        convert(src, tmp_path / "after.gguf", "f32", force=True)
        with (
            Model(tmp_path / "before.gguf", vocab_only=True) as before,
            Model(tmp_path / "after.gguf", vocab_only=True) as after,
        ):
            for text in TEXTS:
                assert before.tokenize(text) == after.tokenize(text), text
