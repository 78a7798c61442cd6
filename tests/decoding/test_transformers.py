"""The demo trio's weights in transformers and here: the same logits, the same greedy tokens.

Slow: needs PyTorch and transformers (extra `train`); `make test-slow` runs it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trimix_cpp.convert import convert
from trimix_cpp.decoding.decoder import Decoder
from trimix_cpp.decoding.text import Text
from trimix_cpp.decoding.trio import Options, Trio
from trimix_cpp.fusion.weights import Weights
from trimix_cpp.llama.context import Context
from trimix_cpp.llama.model import Model
from trimix_cpp.store.spec import RoleSpec, TrioSpec

from ..conftest import ROLES

pytestmark = pytest.mark.slow
sys.path.append(str(Path(__file__).parents[2] / "tools" / "demo_trio"))

PROMPT = "Please translate the following English text into Uyghur.\nEnglish: {}\nUyghur: "
TEXTS = [PROMPT.format("Open the file"), "Uyghur: ھۆججەتنى ئېچىش", "The quick brown fox", "བོད་སྐད་"]
STEPS = 24
# What llama.cpp rounds on the way: F16 caches, and flash attention's F16 accumulators.
FLOAT32 = {"flash_attn": False, "type_k": "f32", "type_v": "f32"}


@pytest.fixture(scope="module")
def folders(demo_files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from unpack import unpack

    root = tmp_path_factory.mktemp("float32")
    for role in ROLES:
        unpack(demo_files[role], root / role)
        convert(root / role, root / f"{role}.gguf", "f32")
    return {role: (root / role, root / f"{role}.gguf") for role in ROLES}


@pytest.fixture(scope="module")
def references(folders: dict) -> dict[str, tuple[Any, Any]]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return {
        role: (
            AutoModelForCausalLM.from_pretrained(folder, dtype="float32").eval(),
            AutoTokenizer.from_pretrained(folder),
        )
        for role, (folder, _) in folders.items()
    }


def torch_logits(model: Any, tokens: list[int]) -> np.ndarray:
    import torch

    with torch.no_grad():
        return model(torch.tensor([tokens])).logits[0].numpy()


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("text", TEXTS)
def test_logits_of_each_model(role: str, text: str, folders: dict, references: dict) -> None:
    reference, tokenizer = references[role]
    with (
        Model(folders[role][1]) as model,
        Context(model, n_ctx=512, n_outputs_max=512, n_threads=1, **FLOAT32) as context,
    ):
        tokens = model.tokenize(text)
        assert tokens == tokenizer.encode(text, add_special_tokens=False)
        at = np.arange(len(tokens), dtype=np.int32)
        context.decode(np.array(tokens, np.int32), at, at * 0, at >= 0)
        np.testing.assert_allclose(context.logits(), torch_logits(reference, tokens), atol=1e-3)


@pytest.mark.parametrize("pair", [(1, 0), (0, 1), (0, 0), (0.7, 0.5), (0.1, 0.9), (0.3, 0.9)])
def test_greedy_tokens_of_the_fusion(
    pair: tuple[float, float], folders: dict, references: dict
) -> None:
    weights = Weights(*pair)
    spec = TrioSpec("float32", {role: RoleSpec(path) for role, (_, path) in folders.items()})
    kinds = dict.fromkeys(ROLES, "f32")
    options = Options(n_ctx=512, n_threads=1, flash_attn=False, type_k=kinds, type_v=kinds)
    with Trio(spec, weights.roles, options) as trio:
        for text in TEXTS:
            (ours,) = Decoder(trio).run([Text(trio.tokenize(text), weights, max_tokens=STEPS)])
            tokens = ours.tokens[: ours.n_prompt]
            while len(tokens) < len(ours.tokens):
                rows = {r: torch_logits(references[r][0], tokens)[-1] for r in weights.roles}
                fused = sum(
                    weights.coefficients[r] * row.astype(np.float64) for r, row in rows.items()
                )
                best = np.sort(fused)[-2:]
                token = int(np.argmax(fused))
                if token != ours.tokens[len(tokens)]:
                    assert best[1] - best[0] < 2e-3, "not a tie within the tolerance"
                    break
                tokens.append(token)
