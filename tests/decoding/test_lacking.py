"""Roles that lack special tokens of the alphabet: what they are fed, and what may come."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from trimix_cpp.decoding.decoder import Decoder
from trimix_cpp.decoding.speculation import Speculator
from trimix_cpp.decoding.text import Text
from trimix_cpp.decoding.trio import Options, Trio
from trimix_cpp.fusion import LogProbs, PplChooser, Weights
from trimix_cpp.llama.context import Context
from trimix_cpp.llama.model import Model
from trimix_cpp.store.spec import RoleSpec, TrioSpec

from ..support.tiny import SPECIAL, write_tiny_model

ROLES = ("large", "cpt", "base")
PROMPT = "<|im_start|>user\nthe ئى<|im_end|>\n<|im_start|>assistant\n"
HALVES = Weights(0.5, 0.3)


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> TrioSpec:
    """cpt knows one end and no other special token."""
    folder = tmp_path_factory.mktemp("lacking")
    files = {
        role: write_tiny_model(
            folder / f"{role}.gguf",
            seed=seed,
            special=SPECIAL[:1] if role == "cpt" else SPECIAL,
            eos=SPECIAL[0],
        )
        for seed, role in enumerate(ROLES)
    }
    return TrioSpec("lacking", {role: RoleSpec(path) for role, path in files.items()})


@pytest.fixture
def trio(spec: TrioSpec) -> Iterator[Trio]:
    with Trio(spec, ROLES, Options(n_ctx=256, n_threads=1, n_parallel=2, n_outputs=4)) as trio:
        yield trio


def own_rows(path: Path, pieces: list[list[int]]) -> np.ndarray:
    """Logits after each of `pieces`, by llama.cpp alone."""
    with Model(path) as model, Context(model, n_ctx=256, n_outputs_max=64, n_threads=1) as context:
        tokens = np.array([token for piece in pieces for token in piece], np.int32)
        ends = np.cumsum([len(piece) for piece in pieces]) - 1
        wanted = np.zeros(len(tokens), bool)
        wanted[ends] = True
        places = np.arange(len(tokens), dtype=np.int32)
        context.decode(tokens, places, np.zeros(len(tokens), np.int32), wanted)
        return context.logits().copy()


def test_each_role_reads_the_prompt_in_its_own_tokens(trio: Trio, spec: TrioSpec) -> None:
    """The rows of every position are llama.cpp's own for the text that was fed."""
    tokens = trio.tokenize(PROMPT, parse_special=True)
    names = set(np.flatnonzero(trio.alignment.control()).tolist())
    path = spec.roles["cpt"].path
    with Model(path) as model:
        pieces = [
            model.tokenize(trio.text_of(token)) if token in names else [token] for token in tokens
        ]
    assert sum(map(len, pieces)) > len(tokens) + 20
    expected = own_rows(path, pieces)
    seen = []
    observer = LogProbs(Weights(0, 1))
    observer.add = lambda at, rows, targets: seen.append((rows["cpt"].copy(), targets.copy()))  # type: ignore[method-assign]
    text = Text(tokens, Weights(0.0, 1.0), max_tokens=0, observers=(observer,))
    for done in Decoder(trio).run([text]):
        done.raise_error()
    rows, targets = map(np.concatenate, zip(*seen, strict=True))
    kept = np.setdiff1d(np.arange(trio.n_tokens), trio.alignment.of(("cpt",)).lacked)
    columns = trio.alignment.columns["cpt"]
    columns = np.arange(trio.n_tokens) if columns is None else columns
    np.testing.assert_allclose(rows[:, kept], expected[:-1, columns[kept]], atol=2e-4)
    assert [t < 0 for t in targets] == [
        token in trio.alignment.spelled["cpt"] for token in tokens[1:]
    ]


def test_what_a_role_lacks_comes_from_large_or_not_at_all(
    trio: Trio, caplog: pytest.LogCaptureFixture
) -> None:
    tokens = trio.tokenize(PROMPT, parse_special=True)
    decoder, rows = Decoder(trio), []
    pick = decoder._engine.pick

    def spy(text: Text, found: dict[str, np.ndarray]) -> int:
        token = pick(text, found)
        rows.append((text.control, decoder._engine.row.copy(), found["large"].copy()))
        return token

    decoder._engine.pick = spy  # type: ignore[method-assign]
    for control in ("fused", "large"):
        list(decoder.stream(Text(tokens, HALVES, control=control, max_tokens=6)))  # type: ignore[arg-type]
    of = trio.alignment.of(HALVES.roles)
    assert len(of.lacked) == 2
    for control, row, large in rows:
        if control == "fused":
            assert np.isneginf(row[of.lacked]).all()
            continue
        p, q = (np.exp(r - r.max()) / np.exp(r - r.max()).sum() for r in (row, large))
        np.testing.assert_allclose(p[of.special], q[of.special], rtol=1e-4)
    told = [record.message for record in caplog.records]
    assert len(told) == 1
    assert "2 special tokens" in told[0]
    assert "<|im_start|>" in told[0]


def test_batches_roll_back_and_drafts_change_nothing(spec: TrioSpec) -> None:
    options = Options(n_ctx=256, n_threads=1, n_parallel=3, n_outputs=8, n_batch=16)
    with Trio(spec, ROLES, options) as trio:
        prompts = [PROMPT, PROMPT + "<|im_end|>", "the<|im_end|><|im_start|>", "th"]
        tokens = [trio.tokenize(prompt, parse_special=True) for prompt in prompts]

        def texts() -> list[Text]:
            return [Text(own, HALVES, control="large", max_tokens=8) for own in tokens]

        alone = []
        for text in texts():
            list(Decoder(trio, keep=False).stream(text))
            alone.append(text.tokens)
        together = texts()
        for done in Decoder(trio).run(together):
            done.raise_error()
        assert [text.tokens for text in together] == alone
        again = texts()
        for text in again:  # what the others left is found
            list(Decoder(trio).stream(text))
        assert [text.tokens for text in again] == alone
        drafted = texts()
        for text in drafted:
            list(Decoder(trio, Speculator(3)).stream(text))
        assert [text.tokens for text in drafted] == alone


def test_choosers_and_scores_leave_them_out(trio: Trio) -> None:
    tokens = trio.tokenize(PROMPT, parse_special=True)
    chooser, scores = PplChooser(), LogProbs(HALVES)
    text = Text(tokens, HALVES, max_tokens=3, chooser=chooser, observers=(scores,))
    list(Decoder(trio).stream(text))
    spelled = trio.alignment.spelled["cpt"]
    known = [token not in spelled for token in tokens[1:]]
    assert chooser.score.n_tokens == sum(known)
    assert np.isfinite(chooser.score.nll).all()
    assert [np.isfinite(value) for value in scores.values] == known


def test_a_text_ends_where_the_role_that_needs_most_is_full(spec: TrioSpec) -> None:
    with Trio(spec, ROLES, Options(n_ctx=96, n_threads=1)) as trio:
        tokens = trio.tokenize(PROMPT, parse_special=True)
        length = trio.length(ROLES, tokens)
        text = Text(tokens, HALVES, ignore_ends=True)
        list(Decoder(trio).stream(text))
        assert text.stop == "context"
        assert len(text.tokens) <= 96 - length + len(tokens)
        long = Text(tokens * 5, HALVES)
        with pytest.raises(Exception, match="context holds 96"):
            list(Decoder(trio).stream(long))
