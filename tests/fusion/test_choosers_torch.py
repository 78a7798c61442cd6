"""The paper's own arithmetic in PyTorch, on the same weights: the same perplexities and pairs.

Slow: needs PyTorch and transformers (extra `train`); `make test-slow` runs it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trimix_cpp.decoding.decoder import Decoder
from trimix_cpp.decoding.text import Text
from trimix_cpp.decoding.trio import Options, Trio
from trimix_cpp.fusion.choosers import (
    EntChooser,
    PplChooser,
    PplOptChooser,
    divergence,
    grid_entropies,
)
from trimix_cpp.fusion.grid import DEFAULT_GRID
from trimix_cpp.fusion.weights import Weights
from trimix_cpp.store.spec import RoleSpec, TrioSpec

from ..conftest import ROLES
from ..decoding.test_transformers import folders, references

__all__ = ["folders", "references"]  # fixtures: the trio's weights in float32, in both forms
pytestmark = pytest.mark.slow

VALUES = (0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
HEAD = "Please translate the following {} text into {}.\n{}: {}\n{}: "
PAIRS = (
    ("Open the file", "ھۆججەتنى ئېچىش"),
    ("Computer", "كومپيۇتېر"),
    ("The folder could not be opened", "قىسقۇچنى ئاچالمىدى"),
    ("Delete", "ئۆچۈر"),
)


def prompts() -> Iterator[str]:
    """Few-shot prompts both ways, one of each without examples, and one in another language."""
    for source, target, order in (("English", "Uyghur", 1), ("Uyghur", "English", -1)):
        for shots in (3, 0):
            texts = [pair[::order] for pair in PAIRS]
            head = [HEAD.format(source, target, source, a, target) + b for a, b in texts[:shots]]
            last = HEAD.format(source, target, source, texts[-1][0], target)
            yield "\n\n".join([*head, last])
    yield HEAD.format("English", "Tibetan", "English", "Open", "Tibetan") + "ཁ་ཕྱེ་"


class Published:
    """Section 2.3 on transformers' logits, a pair and a prompt at a time, in float32."""

    def __init__(self, references: dict[str, tuple[Any, Any]]) -> None:
        self.models = {role: model for role, (model, _) in references.items()}
        self.tokenizer = references["large"][1]

    @cache  # noqa: B019 (one object, and its prompts are few)
    def logits(self, prompt: str) -> tuple[Any, dict[str, Any]]:
        import torch

        tokens = self.tokenizer(prompt, return_tensors="pt", add_special_tokens=False).input_ids
        with torch.no_grad():
            return tokens, {role: model(tokens).logits for role, model in self.models.items()}

    @staticmethod
    def fuse(of: dict[str, Any], alpha: float, beta: float) -> Any:
        return alpha * of["large"] + beta * of["cpt"] + (1 - alpha - beta) * of["base"]

    def mean_nll(self, prompt: str, alpha: float, beta: float) -> float:
        import torch.nn.functional as F

        tokens, of = self.logits(prompt)
        fused = self.fuse(of, alpha, beta)
        return float(F.cross_entropy(fused[0, :-1], tokens[0, 1:]))

    def entropy(self, prompt: str, alpha: float, beta: float) -> float:
        import torch

        fused = self.fuse(self.logits(prompt)[1], alpha, beta)[0, -1]
        return float(torch.distributions.Categorical(logits=fused).entropy())

    def divergence(self, prompt: str, role: str) -> float:
        import torch.nn.functional as F

        of = {role: x[0, -1].log_softmax(-1) for role, x in self.logits(prompt)[1].items()}
        return float(F.kl_div(of["base"], of[role], log_target=True, reduction="sum"))


@pytest.fixture(scope="module")
def published(references: dict) -> Published:
    return Published(references)


@pytest.fixture
def trio(folders: dict[str, tuple[Path, Path]]) -> Iterator[Trio]:
    """The same weights in llama.cpp, with nothing rounded on the way."""
    spec = TrioSpec("float32", {role: RoleSpec(path) for role, (_, path) in folders.items()})
    kinds = dict.fromkeys(ROLES, "f32")
    options = Options(
        n_ctx=512, n_threads=1, n_outputs=64, flash_attn=False, type_k=kinds, type_v=kinds
    )
    with Trio(spec, ROLES, options) as trio:
        yield trio


def choose(trio: Trio, prompt: str, chooser: Any) -> Weights:
    sequence = Text(trio.tokenize(prompt), Weights(1, 0), chooser=chooser, max_tokens=1)
    (done,) = Decoder(trio).run([sequence])
    return done.weights


def test_36_perplexities_and_the_pair_of_a_task(trio: Trio, published: Published) -> None:
    """An average of per-prompt means, as in the published script."""
    theirs = np.array(
        [
            [np.mean([published.mean_nll(p, alpha, beta) for p in prompts()]) for beta in VALUES]
            for alpha in VALUES
        ]
    )
    ours = []
    for prompt in prompts():
        chooser = PplChooser()
        choose(trio, prompt, chooser)
        ours.append(chooser.score.mean)
    mean = np.mean(ours, axis=0)
    # Some of these are above 100,000, where float32 itself is coarser than 1e-3.
    np.testing.assert_allclose(np.exp(mean), np.exp(theirs), rtol=1e-5)
    assert DEFAULT_GRID.best(mean) == np.unravel_index(theirs.argmin(), theirs.shape)


def test_each_prompt_chooses_the_same_pair(trio: Trio, published: Published) -> None:
    for prompt in prompts():
        values = {(a, b): published.mean_nll(prompt, a, b) for a in VALUES for b in VALUES}
        ours = choose(trio, prompt, PplChooser())
        assert values[ours.alpha, ours.beta] == pytest.approx(min(values.values()), abs=1e-4)
        best = choose(trio, prompt, PplOptChooser())
        assert published.mean_nll(prompt, best.alpha, best.beta) <= min(values.values()) + 1e-5


def test_entropy_and_divergence_of_the_first_token(trio: Trio, published: Published) -> None:
    class Last(EntChooser):
        def end(self, last: Any) -> Weights | None:
            self.seen = {role: row.copy() for role, row in last.items()}
            return super().end(last)

    for prompt in prompts():
        chooser = Last()
        weights = choose(trio, prompt, chooser)
        values = np.array([[published.entropy(prompt, a, b) for b in VALUES] for a in VALUES])
        np.testing.assert_allclose(grid_entropies(chooser.seen), values, atol=1e-3)
        i, j = VALUES.index(weights.alpha), VALUES.index(weights.beta)
        assert values[i, j] <= values.min() + 1e-3
        for role in ("large", "cpt"):
            ours = divergence(chooser.seen[role], chooser.seen["base"])
            assert ours == pytest.approx(published.divergence(prompt, role), abs=1e-3)
